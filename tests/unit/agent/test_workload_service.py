"""The Workload API by the numbers of SPIFFE's texts (26 to 38), call by call; who calls is the test's."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.agent.workload_rig import CLAIM, HEADER, POD, Authority, HandClock, other_root, watched

from hauberk.agent.citadel_client import CertificateRefused, CitadelUnreachable
from hauberk.agent.workload_caller import Caller, Claim, NotEntitled
from hauberk.agent.workload_identity import Identities
from hauberk.agent.workload_service import WorkloadService
from hauberk.agent.workload_token import Tokens
from hauberk.identity.jwk_key import encode_public_key
from hauberk.identity.trust import ForeignBundle, JwtKey, Revoked, Trust
from hauberk.identity.workload_wire import SERVICE

spiffe_messages = pytest.importorskip("spiffe._proto.workload_pb2")
WEB = "spiffe://cluster.local/ns/shop/sa/web"


@dataclass
class PlayedCaller:
    """Entitled to what the test says."""

    entitled: tuple[Claim, ...] = (CLAIM,)
    listeners: list[Callable[[], None]] = field(default_factory=list)

    async def claims(self) -> tuple[Claim, ...]:
        if not self.entitled:
            raise NotEntitled("no entry")
        return self.entitled

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(tell)
        return lambda: self.listeners.remove(tell)


class Aborted(Exception):
    """What gRPC ends a call with."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code


@dataclass
class Context:
    metadata: tuple[tuple[str, str], ...]
    written: "asyncio.Queue[bytes]" = field(default_factory=lambda: asyncio.Queue(1))

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def peer(self) -> str:
        return "unix-abstract:caller"

    async def write(self, message: bytes) -> None:
        await self.written.put(message)

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(code, details)


class Api:
    """The service with an authority in memory."""

    def __init__(self, *, trust: bool = True, patience: float = 60.0) -> None:
        self.clock = HandClock()
        self.authority = Authority(self.clock)
        self.trust = watched(self.authority.trust(jwt_keys=(KEY,)) if trust else None)
        self.caller: Caller | None = PlayedCaller()
        self.identities = Identities(self.authority, self.trust, clock=self.clock)
        tokens = Tokens(self.authority, self.trust, self.clock)
        service = WorkloadService(
            caller_of=lambda _: self.caller,
            identities=self.identities,
            tokens=tokens,
            trust=self.trust,
            clock=self.clock,
            patience=patience,
        )
        self._handlers = service.handlers()

    def method(self, name: str) -> Any:
        class Details:
            method = f"/{SERVICE}/{name}"

        return self._handlers.service(Details())  # type: ignore[arg-type]  # as much of it as is looked at

    async def stream(self, name: str, metadata: tuple[tuple[str, str], ...] = HEADER) -> AsyncIterator[bytes]:
        context = Context(metadata)
        answering = asyncio.ensure_future(self.method(name).unary_stream(b"", context))
        try:
            while True:
                reading = asyncio.ensure_future(context.written.get())
                await asyncio.wait({answering, reading}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    await answering
                    return
                yield reading.result()
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def ask(self, name: str, request: Any = None, metadata: tuple[tuple[str, str], ...] = HEADER) -> bytes:
        data = request.SerializeToString() if request is not None else b""
        answer: bytes = await self.method(name).unary_unary(data, Context(metadata))
        return answer

    async def first(self, name: str, metadata: tuple[tuple[str, str], ...] = HEADER) -> bytes:
        stream = self.stream(name, metadata)
        try:
            return await anext(stream)
        finally:
            await stream.aclose()  # type: ignore[attr-defined]  # a generator


KEY = JwtKey(key_id="k1", jwk=json.dumps({**encode_public_key(ec.generate_private_key(ec.SECP256R1()).public_key()), "kid": "k1"}))


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api()
    yield made
    await made.identities.close()


def foreign(name: str = "b.example") -> ForeignBundle:
    return ForeignBundle(trust_domain=name, x509_authorities=(other_root(),), jwt_keys=(KEY,))


async def refused(call: Any) -> grpc.StatusCode:
    with pytest.raises(Aborted) as caught:
        await call
    return caught.value.code


STREAMS = ("FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles")


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("metadata", [(), (("workload.spiffe.io", "false"),), (("workload.spiffe.io", "TRUE"),), (("other", "true"),)])
async def test_27_a_stream_without_the_header_is_refused(api: Api, name: str, metadata: tuple[tuple[str, str], ...]) -> None:
    assert await refused(api.first(name, metadata)) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["FetchJWTSVID", "ValidateJWTSVID"])
async def test_27_a_call_without_the_header_is_refused(api: Api, name: str) -> None:
    assert await refused(api.ask(name, metadata=())) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", STREAMS)
async def test_30_who_has_no_identity_is_told_so(api: Api, name: str) -> None:
    api.caller = PlayedCaller(entitled=())
    assert await refused(api.first(name)) is grpc.StatusCode.PERMISSION_DENIED
    api.caller = None
    assert await refused(api.first(name)) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("name", STREAMS)
async def test_30_before_anybody_is_trusted_nothing_can_be_said(name: str) -> None:
    assert await refused(Api(trust=False).first(name)) is grpc.StatusCode.UNAVAILABLE


async def test_30_what_the_authority_refuses_and_that_it_is_away_are_told_apart(api: Api) -> None:
    api.authority.refusal = CertificateRefused("the pod has ended")
    assert await refused(api.first("FetchX509SVID")) is grpc.StatusCode.PERMISSION_DENIED
    api.authority.refusal = CitadelUnreachable("away")
    assert await refused(api.first("FetchX509SVID")) is grpc.StatusCode.UNAVAILABLE


async def test_32_an_identity_is_whole(api: Api) -> None:
    api.trust.set(api.authority.trust(2, federated=(foreign(),), crls=(b"crl",)))
    answer = spiffe_messages.X509SVIDResponse.FromString(await api.first("FetchX509SVID"))
    (svid,) = answer.svids
    root = api.authority.root.public_bytes(Encoding.DER)
    assert (svid.spiffe_id, svid.bundle, list(answer.crl)) == (WEB, root, [b"crl"])
    assert set(answer.federated_bundles) == {"spiffe://b.example"}
    # 40: what vouches for one domain is in no other's bundle.
    assert root not in answer.federated_bundles["spiffe://b.example"]


async def test_33_hints_tell_several_identities_apart(api: Api) -> None:
    api.caller = PlayedCaller(entitled=(Claim(subject=POD, namespace="shop", service_account="web", hint="one"), CLAIM))
    answer = spiffe_messages.X509SVIDResponse.FromString(await api.first("FetchX509SVID"))
    assert [each.hint for each in answer.svids] == ["one", ""]


async def test_34_bundles_are_of_our_domain_and_of_each_federated_one(api: Api) -> None:
    api.trust.set(api.authority.trust(2, federated=(foreign(),), jwt_keys=(KEY,)))
    x509 = spiffe_messages.X509BundlesResponse.FromString(await api.first("FetchX509Bundles"))
    jwt = spiffe_messages.JWTBundlesResponse.FromString(await api.first("FetchJWTBundles"))
    assert set(x509.bundles) == set(jwt.bundles) == {"spiffe://cluster.local", "spiffe://b.example"}
    for document in jwt.bundles.values():
        (key,) = json.loads(document)["keys"]
        assert (key["use"], key["kid"]) == ("jwt-svid", "k1")


async def test_31_what_changes_is_pushed_whole_and_what_does_not_is_not(api: Api) -> None:
    stream = api.stream("FetchX509Bundles")
    first = await anext(stream)
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    api.trust.set(api.authority.trust(2, jwt_keys=(KEY,)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not following.done()
    api.trust.set(api.authority.trust(3, federated=(foreign(),)))
    second = spiffe_messages.X509BundlesResponse.FromString(await following)
    assert second.bundles.keys() > spiffe_messages.X509BundlesResponse.FromString(first).bundles.keys()
    await stream.aclose()  # type: ignore[attr-defined]  # a generator


@pytest.mark.parametrize("revoked", [Revoked(identities=frozenset({WEB})), Revoked(pods=frozenset({"u-1"}))])
@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_ends_when_its_caller_is_revoked(api: Api, name: str, revoked: Revoked) -> None:
    stream = api.stream(name)
    await anext(stream)
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    api.trust.set(api.authority.trust(2, revoked=revoked))
    assert await refused(following) is grpc.StatusCode.PERMISSION_DENIED
    assert isinstance(api.caller, PlayedCaller) and not api.caller.listeners


async def test_a_stream_ends_when_its_caller_is_entitled_no_more(api: Api) -> None:
    assert isinstance(api.caller, PlayedCaller)
    stream = api.stream("FetchX509SVID")
    await anext(stream)
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    api.caller.entitled = ()
    api.caller.listeners[0]()
    assert await refused(following) is grpc.StatusCode.PERMISSION_DENIED


async def test_35_a_token_is_for_an_audience(api: Api) -> None:
    asked = spiffe_messages.JWTSVIDRequest
    assert await refused(api.ask("FetchJWTSVID", asked())) is grpc.StatusCode.INVALID_ARGUMENT
    assert await refused(api.ask("FetchJWTSVID", asked(audience=["a", ""]))) is grpc.StatusCode.INVALID_ARGUMENT
    assert await refused(api.ask("FetchJWTSVID", asked(audience=["a"] * 100))) is grpc.StatusCode.INVALID_ARGUMENT
    answer = spiffe_messages.JWTSVIDResponse.FromString(await api.ask("FetchJWTSVID", asked(audience=["a", "b"])))
    assert [(each.spiffe_id, each.svid) for each in answer.svids] == [(WEB, "token-1-for-a+b")]


async def test_35_a_token_of_one_identity_may_be_asked_for_if_it_is_ones_own(api: Api) -> None:
    asked = spiffe_messages.JWTSVIDRequest
    assert len(spiffe_messages.JWTSVIDResponse.FromString(await api.ask("FetchJWTSVID", asked(audience=["a"], spiffe_id=WEB))).svids) == 1
    other = asked(audience=["a"], spiffe_id="spiffe://cluster.local/ns/shop/sa/db")
    assert await refused(api.ask("FetchJWTSVID", other)) is grpc.StatusCode.PERMISSION_DENIED
    for spelling in ("spiffe://cluster.local/ns/shop/sa/../sa/web", "spiffe://CLUSTER.local/ns/shop/sa/web", "web", f"{WEB}/"):
        wrong = asked(audience=["a"], spiffe_id=spelling)
        assert await refused(api.ask("FetchJWTSVID", wrong)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_36_what_is_no_token_is_refused_as_a_bad_argument(api: Api) -> None:
    asked = spiffe_messages.ValidateJWTSVIDRequest
    for request in (asked(), asked(audience="a"), asked(audience="a", svid="x.y.z"), asked(svid="x.y.z")):
        assert await refused(api.ask("ValidateJWTSVID", request)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_garbage_is_a_bad_argument(api: Api) -> None:
    call = api.method("FetchJWTSVID").unary_unary(b"\xff\xff", Context(HEADER))
    assert await refused(call) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["FetchWITSVID", "FetchWITBundles", "Anything"])
def test_38_what_is_not_offered_is_left_to_grpc(name: str) -> None:
    assert Api().method(name) is None


async def test_37_a_token_of_a_domain_that_is_not_trusted_is_refused(api: Api) -> None:
    def trusting(*domains: str) -> Trust:
        return api.authority.trust(2, federated=tuple(foreign(each) for each in domains))

    api.trust.set(trusting("b.example"))
    header = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0"
    claims = "eyJzdWIiOiJzcGlmZmU6Ly9jLmV4YW1wbGUvd2ViIn0"  # the subject spiffe://c.example/web
    request = spiffe_messages.ValidateJWTSVIDRequest(audience="a", svid=f"{header}.{claims}.AAAA")
    with pytest.raises(Aborted, match=r"c\.example is not trusted"):
        await api.ask("ValidateJWTSVID", request)


async def test_a_stream_follows_what_its_caller_is_entitled_to(api: Api) -> None:
    assert isinstance(api.caller, PlayedCaller)
    one, other = (Claim(subject=POD, namespace="shop", service_account="web", hint=hint) for hint in ("one", "other"))
    api.caller.entitled = (one,)
    stream = api.stream("FetchX509SVID")
    await anext(stream)
    api.caller.entitled = (other,)
    api.caller.listeners[0]()
    answer = spiffe_messages.X509SVIDResponse.FromString(await anext(stream))
    assert [each.hint for each in answer.svids] == ["other"]
    assert len(list(api.identities.holders())) == 1
    await stream.aclose()  # type: ignore[attr-defined]  # a generator
    assert list(api.identities.holders()) == []


async def test_a_stream_that_nobody_reads_ends_and_is_waited_for_no_more() -> None:
    api = Api(patience=0.0)
    context = Context(HEADER)
    context.written.put_nowait(b"as much as fits")
    call = api.method("FetchX509SVID").unary_stream(b"", context)
    assert await refused(call) is grpc.StatusCode.UNAVAILABLE
    assert list(api.identities.holders()) == []
    await api.identities.close()


async def test_who_reads_nothing_counts_by_what_would_be_read_first(api: Api) -> None:
    stream = api.stream("FetchX509SVID")
    await anext(stream)
    api.trust.set(api.authority.trust(2, crls=(b"other",)))
    await anext(stream)
    context = Context(HEADER)
    context.written.put_nowait(b"as much as fits")
    unread = asyncio.ensure_future(api.method("FetchX509SVID").unary_stream(b"", context))
    for _ in range(20):
        await asyncio.sleep(0)
    (held,) = api.identities.holders()
    assert held.trust is api.trust.value
    # What comes after it is not told before it was read.
    api.trust.set(api.authority.trust(3, crls=(b"third",)))
    await anext(stream)
    for _ in range(20):
        await asyncio.sleep(0)
    (held,) = api.identities.holders()
    assert held.trust is not None and held.trust.sequence == 2
    unread.cancel()
    await asyncio.gather(unread, return_exceptions=True)
    await stream.aclose()  # type: ignore[attr-defined]  # a generator
