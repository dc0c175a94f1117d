"""The gRPC service `hauberk.identity.v1.Citadel`: what agents say becomes calls of the authority, its refusals become statuses.

A socket says who calls: `serving(…, caller=…)` is entered once for each, the control plane's own `citadel.sock` among them. A part that
answers another method of the service (`IssueToken`, `Join`) gives its handler along in `more`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from hauberk.citadel.attestation import AttestationRefused, Caller
from hauberk.citadel.authorities import NoIssuer
from hauberk.citadel.authority import Citadel
from hauberk.citadel.issuing import InvalidLifetime
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.rate_limit import TooMany
from hauberk.citadel.reports import LARGEST, read_reports
from hauberk.citadel.state import StateUnusable
from hauberk.identity.csr import InvalidCsr
from hauberk.identity.wire import FOLLOW, ISSUE, RETRY_AFTER, SERVICE, InvalidMessage, IssueRequest
from hauberk.kit.log import logger

# The bytes of a request and who calls -> the bytes of the answer.
Answer = Callable[[bytes, Caller], Awaitable[bytes]]

OPTIONS: Final = (
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
)
# Of which the sender is to hear what is wrong with it; whatever is longer than this is not looked at.
LONGEST_REQUEST: Final = 64 * 1024
GRACE_SECONDS: Final = 1.0

_log = logger("citadel")


@asynccontextmanager
async def serving(citadel: Citadel, path: Path, caller: Caller, more: Mapping[str, Answer] | None = None) -> AsyncIterator[None]:
    """`caller`, and nobody else, reaches the authority at `path` meanwhile."""
    # A killed predecessor's socket is still a file, and nobody listens.
    await asyncio.to_thread(path.unlink, missing_ok=True)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(citadel, caller, more or {}),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        await asyncio.to_thread(path.chmod, 0o600)
        yield
    finally:
        await server.stop(GRACE_SECONDS)
        await asyncio.to_thread(path.unlink, missing_ok=True)


def handlers(citadel: Citadel, caller: Caller, more: Mapping[str, Answer]) -> grpc.GenericRpcHandler:
    """The service as gRPC wants it, for one caller."""

    async def issue(request: bytes, caller: Caller) -> bytes:
        return (await citadel.issuer.issue(IssueRequest.decode(request), caller)).encode()

    async def follow(messages: AsyncIterator[bytes], context: Any) -> None:
        await _follow(citadel, caller, messages, context)

    methods: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(_told(answer, caller)) for name, answer in ({ISSUE: issue} | dict(more)).items()
    }
    methods[FOLLOW] = grpc.stream_stream_rpc_method_handler(follow)
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def _told(answer: Answer, caller: Caller) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """`answer`, whose refusals the other side hears of in gRPC's way."""

    async def told(request: bytes, context: Any) -> bytes:
        if len(request) > LONGEST_REQUEST:
            await refuse(context, InvalidMessage(f"a request has at most {LONGEST_REQUEST} bytes"))
        try:
            return await answer(request, caller)
        except Exception as exc:  # what is not ours is raised again
            await refuse(context, exc)

    return told


async def refuse(context: Any, reason: Exception) -> NoReturn:
    """The call ends with the status that `reason` is; an error of the program stays one."""
    match reason:
        case TooMany(retry_after=seconds):
            hint = ((RETRY_AFTER, str(max(1, round(seconds * 1000)))),)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(reason), trailing_metadata=hint)
        case InvalidCsr() | InvalidMessage() | InvalidLifetime():
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(reason))
        case AttestationRefused() | PermissionError():
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(reason))
        case NoIssuer() | StateUnusable() | KeyUnreadable():
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(reason))
        case _:
            pass
    raise reason


async def _follow(citadel: Citadel, caller: Caller, messages: AsyncIterator[bytes], context: Any) -> None:
    """Reports come in, each Trust goes out, until either side has enough."""
    if citadel.issuer.refusals.banned(caller.node):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"node {caller.node} is banned")
    with citadel.roster.connected(caller.node, citadel.ground.clock.now()) as line:
        reading = asyncio.create_task(_read(citadel, caller, line, messages, context), name=f"reports of {caller.node}")
        superseded = asyncio.create_task(line.wait(), name=f"successor of {caller.node}")
        try:
            await _tell(citadel, context, reading, superseded)
        finally:
            superseded.cancel()
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
        if line.is_set():
            _log.info("an agent's former stream is ended", node=caller.node)


async def _tell(citadel: Citadel, context: Any, reading: "asyncio.Task[None]", superseded: "asyncio.Task[Any]") -> None:
    changes = citadel.changes()
    following = asyncio.ensure_future(anext(changes))
    try:
        while True:
            await asyncio.wait((following, reading, superseded), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                # The agent has gone, or said what makes no sense: `await` tells which.
                await reading
                return
            if superseded.done():
                return
            await context.write(citadel.ground.publication.wire(await following))
            following = asyncio.ensure_future(anext(changes))
    finally:
        following.cancel()


async def _read(citadel: Citadel, caller: Caller, line: asyncio.Event, messages: AsyncIterator[bytes], context: Any) -> None:
    try:
        async for report in read_reports(messages):
            citadel.roster.heard(caller.node, line, report, citadel.ground.clock.now())
    except InvalidMessage as exc:
        await refuse(context, exc)
