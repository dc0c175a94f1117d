"""The certificate authority over real gRPC on real sockets: bad requests, floods, followers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.citadel.rig import POD, opened

from hauberk.agent.citadel_client import CitadelBusy, CitadelClient, local_channel
from hauberk.citadel.attestation import Caller, NobodyRefused
from hauberk.citadel.authority import Citadel
from hauberk.citadel.reports import LARGEST
from hauberk.citadel.service import LONGEST_REQUEST, serving
from hauberk.citadel.settings import CitadelSettings
from hauberk.identity.csr import MAX_CSR_BYTES, build_csr_der
from hauberk.identity.svid import X509Svid
from hauberk.identity.trust import Trust
from hauberk.identity.wire import FOLLOW, ISSUE, AgentSubject, IssueRequest, Report, method_path
from hauberk.kit.clock import SystemClock

SECONDS = 60  # for anything at all; nothing here takes one
ECHO = "Echo"


async def echo(request: bytes, _: Caller) -> bytes:
    """A further method of the service, as other parts give along."""
    return request


class Served:
    """An authority, and clients of it as two machines."""

    def __init__(self, citadel: Citadel, directory: Path) -> None:
        self.citadel = citadel
        self.channels = {node: local_channel(directory / f"{node}.sock") for node in ("here", "there")}
        self.clients = {node: CitadelClient(channel) for node, channel in self.channels.items()}

    async def status(self, csr_der: bytes, lifetime: timedelta | None = None) -> grpc.StatusCode:
        """How a request for that CSR ends."""
        return await self.raw(IssueRequest(csr_der=csr_der, subject=POD, lifetime=lifetime).encode())

    async def raw(self, message: bytes, method: str = ISSUE) -> grpc.StatusCode:
        call: Any = self.channels["here"].unary_unary(method_path(method))
        try:
            await call(message)
        except grpc.aio.AioRpcError as refused:
            return refused.code()
        return grpc.StatusCode.OK

    async def works(self, node: str = "here") -> X509Svid:
        reply = await self.clients[node].issue(POD, build_csr_der(ec.generate_private_key(ec.SECP256R1())))
        return X509Svid.from_der(reply.chain_der)

    def following(self, node: str) -> Any:
        return self.channels[node].stream_stream(method_path(FOLLOW))()


@asynccontextmanager
async def served(directory: Path, settings: CitadelSettings | None = None) -> AsyncIterator[Served]:
    clock: Any = SystemClock()
    with opened(directory, clock, settings) as citadel:
        async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
            for node in ("here", "there"):
                await stack.enter_async_context(serving(citadel, directory / f"{node}.sock", Caller(node=node), {ECHO: echo}))
            found = Served(citadel, directory)
            running = asyncio.create_task(citadel.run())
            try:
                yield found
            finally:
                for client in found.clients.values():
                    await client.close()
                running.cancel()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - of another's state, which has no event
        await asyncio.sleep(0.005)


def csr(key: Any, *extensions: x509.ExtensionType, algorithm: Any = None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    unhashed = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(key, None if unhashed else algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


def sound() -> bytes:
    return csr(ec.generate_private_key(ec.SECP256R1()))


def names(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


def otherwise_signed() -> bytes:
    """A sound request with the last byte of its signature changed."""
    der = bytearray(sound())
    der[-1] ^= 1
    return bytes(der)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        rsa.generate_private_key(65537, 3072),
    ],
)
async def test_keys_that_envoy_can_use_are_certified(tmp_path: Path, key: Any) -> None:
    async with served(tmp_path) as authority:
        reply = await authority.clients["here"].issue(POD, csr(key))
        assert X509Svid.from_der(reply.chain_der).leaf.public_key() == key.public_key()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"garbage",
        b"\x30\x82\xff\xff" + b"\x00" * 100,
        sound() + b"\x00",
        sound() + sound(),
        sound()[:-1],
        otherwise_signed(),
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * 1_000_000,
        csr(ec.generate_private_key(ec.SECP256R1()), names(*(f"spiffe://cluster.local/ns/shop/sa/{n}" for n in range(10_000)))),
        csr(ec.generate_private_key(ec.SECP224R1())),
        csr(ec.generate_private_key(ec.SECP256K1())),
        csr(ec.generate_private_key(ec.SECP521R1())),
        csr(rsa.generate_private_key(65537, 1024)),
        csr(dsa.generate_private_key(2048)),
        csr(ed25519.Ed25519PrivateKey.generate()),
        csr(ed448.Ed448PrivateKey.generate()),
        csr(rsa.generate_private_key(65537, 2048), algorithm=hashes.SHA224()),
    ],
    ids=lambda bad: f"{len(bad)}-bytes",
)
async def test_a_bad_request_is_told_so_and_harms_nobody(tmp_path: Path, bad: bytes) -> None:
    async with served(tmp_path) as authority:
        assert await authority.status(bad) is grpc.StatusCode.INVALID_ARGUMENT
        assert await authority.works()


async def test_no_method_looks_at_a_request_that_is_too_long(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        assert await authority.raw(b"x" * LONGEST_REQUEST, ECHO) is grpc.StatusCode.OK
        assert await authority.raw(b"x" * (LONGEST_REQUEST + 1), ECHO) is grpc.StatusCode.INVALID_ARGUMENT


async def test_whatever_a_request_wants_to_be_it_becomes_what_its_pod_is(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = (
        names("spiffe://cluster.local/ns/istio-system/sa/admin", "spiffe://other.org/x"),
        x509.BasicConstraints(ca=True, path_length=None),
    )
    async with served(tmp_path) as authority:
        reply = await authority.clients["here"].issue(POD, csr(key, *wanted))
        svid = X509Svid.from_der(reply.chain_der)
        assert str(svid.spiffe_id) == "spiffe://cluster.local/ns/shop/sa/web"
        assert svid.leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


@pytest.mark.parametrize("message", [b"\xff\xff\xff", b"", IssueRequest(csr_der=sound(), subject=POD).encode()[:-40], b"\x0a" * 200_000])
async def test_a_message_that_is_none_is_an_invalid_argument(tmp_path: Path, message: bytes) -> None:
    async with served(tmp_path) as authority:
        assert await authority.raw(message) is grpc.StatusCode.INVALID_ARGUMENT
        assert await authority.works()


@pytest.mark.parametrize("life", [timedelta(), timedelta(seconds=-1), timedelta(days=-36500)])
async def test_a_life_that_is_none_is_an_invalid_argument(tmp_path: Path, life: timedelta) -> None:
    async with served(tmp_path) as authority:
        assert await authority.status(sound(), life) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_century_is_cut_to_a_week(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        reply = await authority.clients["here"].issue(POD, sound(), timedelta(days=36500))
        svid = X509Svid.from_der(reply.chain_der)
        assert svid.not_after - svid.not_before <= timedelta(days=7, minutes=1)


async def test_whom_nobody_vouches_for_is_denied(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        message = IssueRequest(csr_der=sound(), subject=AgentSubject()).encode()
        assert await authority.raw(message) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_flood_of_one_machine_leaves_the_others_served(tmp_path: Path) -> None:
    answers = {True: 0, False: 0}
    hints: list[float] = []
    der, over = sound(), asyncio.Event()

    async def flood(authority: Served) -> None:
        while not over.is_set():
            try:
                await authority.clients["here"].issue(POD, der)
                answers[True] += 1
            except CitadelBusy as busy:
                answers[False] += 1
                hints.append(busy.retry_after)

    async with served(tmp_path, CitadelSettings(issue_rate=20, issue_burst=50)) as authority:
        flooding = [asyncio.create_task(flood(authority)) for _ in range(16)]
        await until(lambda: answers[False] >= 1000)
        for _ in range(30):
            assert await authority.works("there")
        over.set()
        await asyncio.gather(*flooding)
    assert answers[False] >= 1000
    assert all(0 < hint <= 0.06 for hint in hints)
    text = (tmp_path / "audit" / "records" / "000000000000.jsonl").read_text()
    # Every certificate is a line, a thousand refusals are one a second.
    assert text.count("certificate-issued") == answers[True] + 30
    assert text.count("certificate-refused") <= SECONDS


async def test_a_follower_hears_the_trust_at_once_and_each_later_one(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        stream = authority.following("here")
        first = Trust.from_wire(await stream.read())
        assert first == authority.citadel.trust
        await authority.citadel.rotate_root("root")
        second = Trust.from_wire(await stream.read())
        assert second.sequence > first.sequence
        assert set(first.x509_authorities) < set(second.x509_authorities)
        stream.cancel()


async def test_an_exchange_of_roots_goes_on_by_what_followers_report(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        (before,) = authority.citadel.trust.x509_authorities
        await authority.citadel.rotate_root("root")
        stream = authority.following("here")
        while True:
            trust = Trust.from_wire(await stream.read())
            await stream.write(Report(sequence=trust.sequence, node_time=authority.citadel.ground.clock.now()).encode())
            if before not in trust.x509_authorities:
                break
        await until(lambda: not authority.citadel.exchange.going_on)
        stream.cancel()


async def test_an_agent_that_comes_back_takes_the_place_of_its_former_self(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        roster, clock = authority.citadel.roster, authority.citadel.ground.clock
        former = authority.following("here")
        await former.read()
        later = authority.following("here")
        await later.read()
        assert await former.read() is grpc.aio.EOF  # though it has said nothing
        await later.write(Report(sequence=2, node_time=clock.now()).encode())
        await until(lambda: bool(roster.reports))
        assert roster.reports["here"].sequence == 2
        later.cancel()
        await until(lambda: not roster.agents)


async def test_a_report_that_is_none_ends_the_stream(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        stream = authority.following("here")
        await stream.read()
        await stream.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
        assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await authority.works()


async def test_a_report_larger_than_any_machine_has_is_not_read(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        stream = authority.following("here")
        await stream.read()
        await stream.write(b"\x00" * (LARGEST + 1))
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
        assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await authority.works()


async def test_a_machine_that_is_banned_hears_nothing(tmp_path: Path) -> None:
    class Banned(NobodyRefused):
        def banned(self, node: str) -> bool:
            return node == "there"

    async with served(tmp_path) as authority:
        authority.citadel.heed(Banned())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await authority.following("there").read()
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_clock_that_is_wrong_is_named(tmp_path: Path) -> None:
    async with served(tmp_path) as authority:
        stream = authority.following("there")
        await stream.read()
        wrong = authority.citadel.ground.clock.now() + timedelta(hours=1)
        await stream.write(Report(sequence=1, node_time=wrong).encode())
        await until(lambda: bool(authority.citadel.housekeeping.skews))
        assert "the clock of node there is 3600 s ahead" in authority.citadel.overview().problems[0]
        stream.cancel()


async def test_the_longest_request_is_longer_than_any_that_is_sound(tmp_path: Path) -> None:
    many = csr(rsa.generate_private_key(65537, 4096), names(*(f"spiffe://cluster.local/{n}" for n in range(300))))
    assert len(many) < MAX_CSR_BYTES
    async with served(tmp_path) as authority:
        assert await authority.status(many) is grpc.StatusCode.OK
