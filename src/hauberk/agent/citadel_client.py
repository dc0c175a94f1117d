"""The agent's end of the gRPC service of the certificate authority."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from hauberk.identity.trust import Trust
from hauberk.identity.wire import (
    FOLLOW,
    ISSUE,
    ISSUE_TOKEN,
    RETRY_AFTER,
    InvalidMessage,
    IssueReply,
    IssueRequest,
    Report,
    Subject,
    TokenReply,
    TokenRequest,
    method_path,
)

# The authority signs one after the other anyway: the thousand pods of an agent that starts again wait here, in turn.
PARALLEL: Final = 16
DEADLINE_SECONDS: Final = 10.0
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # a Trust with long lists of what was revoked
    ("grpc.max_send_message_length", 64 * 1024 * 1024),  # a report of thousands of pods
    # By default gRPC would wait up to two minutes before it looks whether a control plane is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The proxy of the environment is for the machine's own traffic.
    ("grpc.enable_http_proxy", 0),
)
_GONE: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_LONGEST_HINT: Final = 300.0


class NotIssued(Exception):
    """There is nothing from the authority; the message says why."""


class CertificateRefused(NotIssued):
    """The authority answered and gave nothing that can be used."""


class CitadelUnreachable(NotIssued):
    """The authority does not answer."""


class CitadelBusy(NotIssued):
    """The authority has been asked too often: not again before `retry_after` seconds have passed."""

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class CitadelClient:
    """Asks the authority at the other end of `channel`; made inside the event loop that uses it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        # Messages are bytes here: `identity.wire` knows what they mean.
        self._issue: Any = channel.unary_unary(method_path(ISSUE))
        self._issue_token: Any = channel.unary_unary(method_path(ISSUE_TOKEN))
        self._follow: Any = channel.stream_stream(method_path(FOLLOW))
        self._turns = asyncio.Semaphore(PARALLEL)
        # Programs ask for tokens when they like: that keeps no pod from its certificate.
        self._token_turns = asyncio.Semaphore(PARALLEL)

    async def issue(self, subject: Subject, csr_der: bytes, lifetime: timedelta | None = None) -> IssueReply:
        """A certificate for the key of the request; raises NotIssued."""
        request = IssueRequest(csr_der=csr_der, subject=subject, lifetime=lifetime)
        try:
            return IssueReply.decode(await self._ask(self._issue, self._turns, request.encode()))
        except InvalidMessage as exc:
            raise CertificateRefused(f"the control plane's answer is not usable: {exc}") from exc

    async def issue_token(self, subject: Subject, audience: tuple[str, ...], lifetime: timedelta | None = None) -> TokenReply:
        """A JWT-SVID for `audience`; raises NotIssued."""
        request = TokenRequest(subject=subject, audience=audience, lifetime=lifetime)
        try:
            return TokenReply.decode(await self._ask(self._issue_token, self._token_turns, request.encode()))
        except InvalidMessage as exc:
            raise CertificateRefused(f"the control plane's answer is not usable: {exc}") from exc

    async def follow(self, reports: AsyncIterator[Report]) -> AsyncGenerator[Trust, None]:
        """Each Trust there is, from the first one, which comes at once, while `reports` are told; raises NotIssued when that ends."""
        call = self._follow(_encoded(reports))
        try:
            while (data := await call.read()) is not grpc.aio.EOF:
                yield Trust.from_wire(data)
        except grpc.aio.AioRpcError as exc:
            raise _not_issued(exc) from exc
        except InvalidMessage as exc:
            raise CertificateRefused(f"the control plane's word is not usable: {exc}") from exc
        finally:
            call.cancel()
        raise CitadelUnreachable("the control plane has ended the stream")

    async def close(self) -> None:
        """The channel is closed."""
        await self._channel.close()

    async def _ask(self, method: Any, turns: asyncio.Semaphore, request: bytes) -> bytes:
        async with turns:
            try:
                answer: bytes = await method(request, timeout=DEADLINE_SECONDS)
            except grpc.aio.AioRpcError as exc:
                raise _not_issued(exc) from exc
        return answer


def local_channel(socket: Path) -> grpc.aio.Channel:
    """The way to the control plane of this machine."""
    return grpc.aio.insecure_channel(f"unix:{socket}", options=OPTIONS)


async def _encoded(reports: AsyncIterator[Report]) -> AsyncIterator[bytes]:
    async for report in reports:
        yield report.encode()


def _not_issued(error: grpc.aio.AioRpcError) -> NotIssued:
    details = error.details() or "it does not say why"
    match error.code():
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return CitadelBusy(f"the control plane is asked too often: {details}", _retry_after(error))
        case code if code in _GONE:
            return CitadelUnreachable(f"the control plane does not answer: {details}")
        case _:
            return CertificateRefused(details)


def _retry_after(error: grpc.aio.AioRpcError) -> float:
    """The authority's hint in seconds; a second if it gives none that makes sense."""
    hints = [value for name, value in error.trailing_metadata() or () if name == RETRY_AFTER]
    try:
        return min(max(int(hints[0]) / 1000, 0.0), _LONGEST_HINT)
    except (IndexError, ValueError):
        return 1.0
