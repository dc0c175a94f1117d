"""The SPIFFE Workload API (SPIFFE Workload API, X.509-SVID and JWT-SVID profiles) as a gRPC service.

Who calls is known from the connection he came by (`caller_of`), never from what he says. Every message of a stream is the whole state,
the first is sent at once, and the next when something of it has changed (4.1). WIT-SVIDs are not offered: gRPC itself says
`UNIMPLEMENTED` to their methods, as the texts demand.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from hauberk.agent.citadel_client import CertificateRefused, NotIssued
from hauberk.agent.workload_bundle import all_jwt, all_x509, federated_x509, jwt_keys_of, own_x509
from hauberk.agent.workload_caller import Caller, Claim, NotEntitled, NotReady
from hauberk.agent.workload_identity import Identities, KeptIdentity
from hauberk.agent.workload_token import Tokens
from hauberk.identity.jwt_svid import InvalidJwtSvid, validate
from hauberk.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from hauberk.identity.trust import Trust
from hauberk.identity.wire import InvalidMessage, PodSubject
from hauberk.identity.workload_wire import (
    FETCH_JWT_BUNDLES,
    FETCH_JWT_SVID,
    FETCH_X509_BUNDLES,
    FETCH_X509_SVID,
    SECURITY_HEADER,
    SERVICE,
    VALIDATE_JWT_SVID,
    JwtSvidEntry,
    X509SvidEntry,
    decode_jwt_svid_request,
    decode_validate_request,
    encode_jwt_bundles,
    encode_jwt_svids,
    encode_validated,
    encode_x509_bundles,
    encode_x509_svids,
)
from hauberk.kit.clock import Clock
from hauberk.kit.watched import Watched

_MOST_AUDIENCES: Final = 32
Ask = Callable[[bytes, Caller], Awaitable[bytes]]
# What a stream says now, made of what its caller is entitled to.
Say = Callable[[Sequence[Claim], "Listening"], Awaitable[bytes]]


class NotAsked(Exception):
    """The request itself is wrong; the message says what."""


class NotRead(Exception):
    """Whoever opened a stream does not read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadService:
    """Answers callers. `trust` is what this machine believes; nothing is answered before there is one."""

    caller_of: Callable[[str], Caller | None]
    identities: Identities
    tokens: Tokens
    trust: Watched[Trust]
    clock: Clock
    # Seconds for a caller to take a message: what is trusted is changed only once all who listen have been told.
    patience: float = 10.0

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service as gRPC wants it."""
        methods: dict[str, Any] = {
            FETCH_X509_SVID: grpc.unary_stream_rpc_method_handler(self._streamed(self._x509_svids)),
            FETCH_X509_BUNDLES: grpc.unary_stream_rpc_method_handler(self._streamed(self._x509_bundles)),
            FETCH_JWT_BUNDLES: grpc.unary_stream_rpc_method_handler(self._streamed(self._jwt_bundles)),
            FETCH_JWT_SVID: grpc.unary_unary_rpc_method_handler(self._asked(self._jwt_svids)),
            VALIDATE_JWT_SVID: grpc.unary_unary_rpc_method_handler(self._asked(self._validated)),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    # --- what is answered

    async def _x509_svids(self, claims: Sequence[Claim], listening: "Listening") -> bytes:
        trust = self._believed()
        kept = await listening.identities(claims)
        held = [(each.claim, await each.obtained()) for each in kept]
        for _, key in held:
            self._refuse_revoked(key.svid.spiffe_id)
        entries = [
            X509SvidEntry(spiffe_id=str(key.svid.spiffe_id), chain=key.chain, key=key.key, bundle=own_x509(trust), hint=claim.hint)
            for claim, key in held
        ]
        listening.tells(trust)
        return encode_x509_svids(entries, trust.crls, federated_x509(trust))

    async def _x509_bundles(self, _: Sequence[Claim], __: "Listening") -> bytes:
        trust = self._believed()
        return encode_x509_bundles(all_x509(trust), trust.crls)

    async def _jwt_bundles(self, _: Sequence[Claim], __: "Listening") -> bytes:
        return encode_jwt_bundles(all_jwt(self._believed()))

    async def _jwt_svids(self, data: bytes, caller: Caller) -> bytes:
        request = decode_jwt_svid_request(data)
        if not request.audience or not all(request.audience):
            raise NotAsked("a token is for somebody: name its audience")
        if len(request.audience) > _MOST_AUDIENCES:
            raise NotAsked(f"a token has at most {_MOST_AUDIENCES} audiences")
        claims = await self._entitled(caller)
        domain = self._believed().trust_domain
        if request.spiffe_id:
            asked = _parsed(request.spiffe_id)
            claims = tuple(claim for claim in claims if claim.spiffe_id(domain) == asked)
            if not claims:
                raise NotEntitled(f"the caller is not entitled to {asked}")
        tokens = [await self.tokens.token(claim.subject, request.audience) for claim in claims]
        pairs = zip(claims, tokens, strict=True)
        return encode_jwt_svids(JwtSvidEntry(spiffe_id=str(each.spiffe_id(domain)), token=token, hint=each.hint) for each, token in pairs)

    async def _validated(self, data: bytes, caller: Caller) -> bytes:
        request = decode_validate_request(data)
        await self._entitled(caller)
        trust = self._believed()
        if not request.audience or not request.token:
            raise NotAsked("both an audience and a token are needed")
        svid = validate(request.token, audience=request.audience, keys_of=lambda domain: jwt_keys_of(trust, domain), now=self.clock.now())
        if str(svid.spiffe_id) in trust.revoked.identities:
            raise InvalidJwtSvid(f"{svid.spiffe_id} is revoked")
        return encode_validated(str(svid.spiffe_id), svid.claims)

    # --- how

    def _believed(self) -> Trust:
        if self.trust.value is None:
            raise NotReady("the control plane has not been reached yet")
        return self.trust.value

    async def _entitled(self, caller: Caller) -> tuple[Claim, ...]:
        claims = await caller.claims()
        trust = self._believed()
        for claim in claims:
            self._refuse_revoked(claim.spiffe_id(trust.trust_domain))
            if isinstance(claim.subject, PodSubject) and claim.subject.uid in trust.revoked.pods:
                raise NotEntitled("this pod is revoked")
        return claims

    def _refuse_revoked(self, spiffe_id: SpiffeId) -> None:
        if str(spiffe_id) in self._believed().revoked.identities:
            raise NotEntitled(f"{spiffe_id} is revoked")

    def _caller(self, context: Any) -> Caller:
        if not any(name == SECURITY_HEADER and value == "true" for name, value in context.invocation_metadata() or ()):
            raise NotAsked(f"the metadata {SECURITY_HEADER}: true is missing")
        caller = self.caller_of(context.peer())
        if caller is None:
            raise NotEntitled("nothing is known of who has connected")
        return caller

    def _asked(self, ask: Ask) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def answer(request: bytes, context: Any) -> bytes:
            try:
                return await ask(request, self._caller(context))
            except Exception as exc:  # what is not ours is raised again
                await _refuse(context, exc)

        return answer

    def _streamed(self, say: Say) -> Callable[[bytes, Any], Awaitable[None]]:
        async def answer(_: bytes, context: Any) -> None:
            try:
                async with Listening(self._caller(context), self.identities, self.trust) as listening:
                    last = None
                    while True:
                        listening.changed.clear()
                        message = await say(await self._entitled(listening.caller), listening)
                        if message != last:
                            await self._write(context, message)
                            last = message
                        listening.has_told()
                        await listening.changed.wait()
            except Exception as exc:
                # By now it holds nothing up: the status itself waits behind what was not read.
                await _refuse(context, exc)

        return answer

    async def _write(self, context: Any, message: bytes) -> None:
        try:
            async with asyncio.timeout(self.patience):
                await context.write(message)
        except TimeoutError as exc:
            raise NotRead(f"what was sent has not been read for {self.patience:.0f} s: ask again") from exc


class Listening:
    """One stream: `changed` is set whenever what it was told may be another by now."""

    def __init__(self, caller: Caller, identities: Identities, trust: Watched[Trust]) -> None:
        self.caller = caller
        self.changed = asyncio.Event()
        self._identities = identities
        self._trust = trust
        self._stack = AsyncExitStack()
        self._kept: dict[Claim, tuple[KeptIdentity, AsyncExitStack]] = {}
        self._telling: Trust | None = None

    async def __aenter__(self) -> "Listening":
        self._stack.callback(self.caller.subscribe(self.changed.set))
        self._stack.callback(self._trust.subscribe(lambda _: self.changed.set()))
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._keep_only(())
        await self._stack.aclose()

    async def identities(self, claims: Sequence[Claim]) -> list[KeptIdentity]:
        """Those of `claims`, and no others, kept fresh until something else is asked for or the stream ends."""
        await self._keep_only(claims)
        for claim in claims:
            if claim not in self._kept:
                self._kept[claim] = await self._listen_to(claim)
        return [self._kept[claim][0] for claim in claims]

    async def _listen_to(self, claim: Claim) -> tuple[KeptIdentity, AsyncExitStack]:
        stack = AsyncExitStack()
        kept = await stack.enter_async_context(self._identities.subscribed(claim))
        kept.told[self] = None
        stack.callback(kept.told.pop, self, None)
        stack.callback(kept.outcome.subscribe(lambda _: self.changed.set()))
        return kept, stack

    async def _keep_only(self, claims: Sequence[Claim]) -> None:
        for claim in self._kept.keys() - set(claims):
            _, stack = self._kept.pop(claim)
            await stack.aclose()

    def tells(self, trust: Trust) -> None:
        """What is sent next is made of `trust`; who knows nothing yet reads this first, or nothing."""
        self._telling = trust
        for kept, _ in self._kept.values():
            kept.told[self] = kept.told[self] or trust

    def has_told(self) -> None:
        """It has been sent: the transport has taken it."""
        for kept, _ in self._kept.values():
            kept.told[self] = self._telling
        self._identities.changed()


def _parsed(text: str) -> SpiffeId:
    try:
        return SpiffeId.parse(text)
    except InvalidSpiffeId as exc:
        raise NotAsked(str(exc)) from exc


async def _refuse(context: Any, reason: Exception) -> NoReturn:
    """The call ends with the status that `reason` is (Workload Endpoint, 6); an error of the program stays one."""
    match reason:
        case NotAsked() | InvalidMessage() | InvalidJwtSvid():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(reason))
        case NotEntitled() | CertificateRefused():
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(reason))
        case NotReady() | NotRead() | NotIssued():
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(reason))
        case _:
            pass
    raise reason
