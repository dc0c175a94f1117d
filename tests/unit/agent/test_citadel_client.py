"""The agent's end of the authority's service, with a service of the test's own at the other end of a socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.agent.citadel_client import (
    PARALLEL,
    CertificateRefused,
    CitadelBusy,
    CitadelClient,
    CitadelUnreachable,
    NotIssued,
    local_channel,
)
from hauberk.agent.trust import MachineTrust
from hauberk.agent.trust_report import Held, TrustFollower
from hauberk.identity.template import build_root
from hauberk.identity.trust import Trust
from hauberk.identity.wire import (
    FOLLOW,
    ISSUE,
    ISSUE_TOKEN,
    RETRY_AFTER,
    SERVICE,
    Holder,
    IssueReply,
    IssueRequest,
    PodSubject,
    Report,
    TokenReply,
    TokenRequest,
)
from hauberk.kit.clock import SystemClock

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(trust_domain="td", public_key=KEY.public_key(), serial=1, now=NOW, lifetime=timedelta(days=9)).sign(KEY, hashes.SHA256())
POD = PodSubject(namespace="shop", name="web-1", uid="u-1")


def trust(sequence: int) -> Trust:
    return Trust(sequence=sequence, trust_domain="td", x509_authorities=(ROOT,))


class FakeCitadel:
    """Answers as it was told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.refusal: tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]] | None = None
        self.issued: list[IssueRequest] = []
        self.reports: asyncio.Queue[Report] = asyncio.Queue()
        self.trusts: asyncio.Queue[Trust] = asyncio.Queue()
        self.asked_for_token = asyncio.Semaphore(0)
        self.gives_tokens = asyncio.Event()
        self.gives_tokens.set()
        self.answer = IssueReply(chain_der=(b"leaf", b"issuing"), trust_sequence=7, authority_id="A").encode()

    async def issue(self, request: bytes, context: Any) -> bytes:
        if self.refusal is not None:
            code, details, metadata = self.refusal
            await context.abort(code, details, metadata)
        self.issued.append(IssueRequest.decode(request))
        return self.answer

    async def issue_token(self, request: bytes, _context: Any) -> bytes:
        asked = TokenRequest.decode(request)
        self.asked_for_token.release()
        await self.gives_tokens.wait()
        return TokenReply(token="/".join(asked.audience), expires=NOW).encode()

    async def follow(self, reports: AsyncIterator[bytes], context: Any) -> None:
        async def hear() -> None:
            async for report in reports:
                self.reports.put_nowait(Report.decode(report))

        hearing = asyncio.create_task(hear())
        try:
            while True:
                await context.write((await self.trusts.get()).to_wire())
        finally:
            hearing.cancel()

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[None]:
        server = grpc.aio.server()
        handlers: dict[str, Any] = {
            ISSUE: grpc.unary_unary_rpc_method_handler(self.issue),
            ISSUE_TOKEN: grpc.unary_unary_rpc_method_handler(self.issue_token),
            FOLLOW: grpc.stream_stream_rpc_method_handler(self.follow),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(grace=0)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[CitadelClient]:
    client = CitadelClient(local_channel(tmp_path / "c.sock"))
    yield client
    await client.close()


async def reported(citadel: FakeCitadel, holds: Callable[[Report], bool]) -> Report:
    async with asyncio.timeout(20):
        while not holds(report := await citadel.reports.get()):
            pass
    return report


async def test_a_request_says_for_whom_and_brings_the_chain(tmp_path: Path, client: CitadelClient) -> None:
    citadel = FakeCitadel()
    async with citadel.serving(tmp_path / "c.sock"):
        reply = await client.issue(POD, b"csr")
        token = await client.issue_token(POD, ("a", "b"))
    assert citadel.issued == [IssueRequest(csr_der=b"csr", subject=POD)]
    assert (reply.chain_der, reply.authority_id) == ((b"leaf", b"issuing"), "A")
    assert token.token == "a/b"


async def test_tokens_keep_no_pod_from_its_certificate(tmp_path: Path, client: CitadelClient) -> None:
    citadel = FakeCitadel()
    citadel.gives_tokens.clear()
    async with citadel.serving(tmp_path / "c.sock"), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(client.issue_token(POD, (str(number),))) for number in range(PARALLEL)]
        for _ in waiting:
            await citadel.asked_for_token.acquire()
        assert await client.issue(POD, b"csr")
        citadel.gives_tokens.set()


@pytest.mark.parametrize(
    ("code", "metadata", "error", "said"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, (), CertificateRefused, "^there is no such pod$"),
        (grpc.StatusCode.INVALID_ARGUMENT, (), CertificateRefused, "there is no such pod"),
        (grpc.StatusCode.UNAVAILABLE, (), CitadelUnreachable, "does not answer"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ((RETRY_AFTER, "1500"),), CitadelBusy, "too often"),
    ],
)
async def test_a_refusal_is_told_in_the_authoritys_words(
    tmp_path: Path, client: CitadelClient, code: grpc.StatusCode, metadata: tuple[tuple[str, str], ...], error: type[NotIssued], said: str
) -> None:
    citadel = FakeCitadel()
    citadel.refusal = (code, "there is no such pod", metadata)
    async with citadel.serving(tmp_path / "c.sock"):
        with pytest.raises(error, match=said) as caught:
            await client.issue(POD, b"csr")
    if isinstance(caught.value, CitadelBusy):
        assert caught.value.retry_after == 1.5


@pytest.mark.parametrize(("hint", "seconds"), [("nonsense", 1.0), ("-5", 0.0), ("99999999999", 300.0)])
async def test_a_hint_that_makes_no_sense_does_no_harm(tmp_path: Path, client: CitadelClient, hint: str, seconds: float) -> None:
    citadel = FakeCitadel()
    citadel.refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "", ((RETRY_AFTER, hint),))
    async with citadel.serving(tmp_path / "c.sock"):
        with pytest.raises(CitadelBusy) as caught:
            await client.issue(POD, b"csr")
    assert caught.value.retry_after == seconds


async def test_an_answer_that_is_none_is_a_refusal(tmp_path: Path, client: CitadelClient) -> None:
    citadel = FakeCitadel()
    citadel.answer = b"\xff\xff"
    async with citadel.serving(tmp_path / "c.sock"):
        with pytest.raises(CertificateRefused, match="not usable"):
            await client.issue(POD, b"csr")


async def test_nobody_at_the_socket_is_not_reachable(client: CitadelClient) -> None:
    with pytest.raises(CitadelUnreachable):
        await client.issue(POD, b"csr")


async def test_each_trust_is_taken_on_and_what_is_proven_is_reported_also_to_the_next_control_plane(
    tmp_path: Path, client: CitadelClient
) -> None:
    machine, contacts = MachineTrust(tmp_path / "trust"), list[int]()
    envoys: list[Trust | None] = [None]

    def held() -> list[Held]:
        return [Held(holder=Holder(subject=POD, serial="5"), trust=envoys[0])]

    follower = TrustFollower(client, machine, holders=held, clock=SystemClock(), on_contact=lambda: contacts.append(1))
    following = asyncio.create_task(follower.run())
    citadel = FakeCitadel()
    async with citadel.serving(tmp_path / "c.sock"):
        citadel.trusts.put_nowait(trust(7))
        report = await reported(citadel, lambda report: report.sequence == 7)
        assert [(each.serial, each.sequence) for each in report.holders] == [("5", 0)]
        envoys[0] = machine.current.value
        follower.holders_changed()
        await reported(citadel, lambda report: report.holders[0].sequence == 7)
    # The next one was restored from a backup: what was proven of 7 proves nothing of its own 7.
    restored = FakeCitadel()
    async with restored.serving(tmp_path / "c.sock"):
        assert (await restored.reports.get()).sequence == 0
        restored.trusts.put_nowait(trust(3))
        report = await reported(restored, lambda report: report.sequence == 3)
        assert report.holders[0].sequence == 0
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert len(contacts) == 2


async def test_nothing_is_proven_before_everybody_is_known_and_none_is_a_stranger(tmp_path: Path, client: CitadelClient) -> None:
    machine, known = MachineTrust(tmp_path / "trust"), [False]
    held = [Held(holder=Holder(subject=POD), trust=None, unknown=True)]
    follower = TrustFollower(client, machine, holders=lambda: held, clock=SystemClock(), all_known=lambda: known[0])
    following = asyncio.create_task(follower.run())
    citadel = FakeCitadel()
    async with citadel.serving(tmp_path / "c.sock"):
        citadel.trusts.put_nowait(trust(7))
        async for _ in machine.current.changes():
            break
        assert follower.report().sequence == 0
        known[0] = True
        assert follower.report().sequence == 0
        held[0] = Held(holder=Holder(subject=POD), trust=None)
        await reported(citadel, lambda report: report.sequence == 7)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
