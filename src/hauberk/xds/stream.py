"""Delta ADS on gRPC: the only part of this room that awaits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from hauberk.kit.log import logger
from hauberk.xds.budget import Budget
from hauberk.xds.layers import ResourceSet
from hauberk.xds.session import DeltaSession
from hauberk.xds.update import Update

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD: Final = "DeltaAggregatedResources"
# Envoy asks within milliseconds for what a cluster or listener names; after this long it will not ask any more.
PATIENCE_SECONDS: Final = 5.0
# A proxy that takes no byte for so long hangs; it is cut off so that its share of the budget is free, and may come back.
STUCK_SECONDS: Final = 30.0
SWEEP_SECONDS: Final = 1.0

OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
    # The proxy of the environment is for the machine's own traffic.
    ("grpc.enable_http_proxy", 0),
)

log = logger("xds")


class StreamRefused(Exception):
    """The stream's owner will not talk to this proxy, and says why."""


class StreamOwner(Protocol):
    """Who decides what a proxy is told: pilot, or an agent's relay. All calls come from the event loop and must not block."""

    @property
    def session(self) -> DeltaSession: ...

    def opened(self, stream: DeltaStream) -> None:
        """The stream stands; `stream.tell` may be used until `closed`."""

    def heard(self, request: DeltaDiscoveryRequest) -> None:
        """The session has taken `request` in."""

    def closed(self) -> None:
        """The stream ended, for whatever reason."""


class DeltaStream:
    """One proxy's stream: what its session wants sent goes out in order, one message at a time."""

    def __init__(self, context: Any, session: DeltaSession, budget: Budget) -> None:
        self._context = context
        self._session = session
        self._budget = budget
        self._queue: deque[Update] = deque()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._writing_since: float | None = None

    def tell(self, resources: ResourceSet) -> bool:
        """Bring the proxy to `resources`; whether something had to be sent or is still to be."""
        self.send(self._session.on_resources(resources))
        return not self._session.synced

    def send(self, updates: Iterable[Update]) -> None:
        self._queue.extend(updates)
        if self._queue:
            self._wake.set()

    def hear(self, request: DeltaDiscoveryRequest) -> None:
        self._heard_at = self._loop.time()
        self.send(self._session.on_request(request))

    async def write(self) -> None:
        """Send what is queued, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._write(self._queue.popleft())

    async def _write(self, update: Update) -> None:
        async with self._budget.spend(update.size):
            self._writing_since = self._loop.time()
            await self._context.write(update.encode())
            self._writing_since = None

    def sweep(self) -> bool:
        """Lose patience where it is due; False if the proxy takes nothing any more."""
        now = self._loop.time()
        if self._session.waiting and now - self._heard_at > PATIENCE_SECONDS:
            self.send(self._session.on_silence())
        return self._writing_since is None or now - self._writing_since < STUCK_SECONDS


class DeltaServer:
    """A gRPC server for delta ADS on any number of addresses; `accept` finds the owner of a stream by its first request."""

    def __init__(self, accept: Callable[[DeltaDiscoveryRequest], StreamOwner], *, budget: Budget | None = None) -> None:
        self._accept = accept
        self._budget = budget or Budget()
        self._streams: dict[DeltaStream, asyncio.Task[None]] = {}
        self._server = grpc.aio.server(options=OPTIONS)
        handler: grpc.RpcMethodHandler[DeltaDiscoveryRequest, bytes] = grpc.stream_stream_rpc_method_handler(
            self._converse,
            request_deserializer=DeltaDiscoveryRequest.FromString,
            response_serializer=None,  # responses are bytes already
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))

    @asynccontextmanager
    async def serving(self, *addresses: str) -> AsyncIterator[tuple[int, ...]]:
        """Serve on `addresses` (`unix:/path` or `host:port`) meanwhile; the ports that were taken."""
        ports = tuple(self._server.add_insecure_port(address) for address in addresses)
        await self._server.start()
        sweeper = asyncio.create_task(self._sweep(), name="xds:sweep")
        try:
            yield ports
        finally:
            sweeper.cancel()
            await self._server.stop(grace=0)
            await asyncio.gather(sweeper, return_exceptions=True)

    async def _converse(self, requests: AsyncIterator[DeltaDiscoveryRequest], context: Any) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        try:
            owner = self._accept(first)
        except StreamRefused as refusal:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(refusal))
            return
        stream = DeltaStream(context, owner.session, self._budget)
        writer = asyncio.create_task(stream.write(), name="xds:write")
        reader = asyncio.current_task()
        assert reader is not None
        self._streams[stream] = reader
        # A write fails when the proxy is gone; reading then has nothing to wait for either.
        writer.add_done_callback(lambda task: reader.cancel() if not task.cancelled() else None)
        owner.opened(stream)
        try:
            _hear(stream, owner, first)
            async for request in requests:
                _hear(stream, owner, request)
        finally:
            del self._streams[stream]
            writer.cancel()
            owner.closed()
            await asyncio.gather(writer, return_exceptions=True)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for stream, task in tuple(self._streams.items()):
                if not stream.sweep():
                    log.warning("cut off a proxy that takes nothing", seconds=STUCK_SECONDS)
                    task.cancel()


def _hear(stream: DeltaStream, owner: StreamOwner, request: DeltaDiscoveryRequest) -> None:
    stream.hear(request)
    owner.heard(request)


class ClientStream:
    """The client's end of a delta ADS stream."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, request: DeltaDiscoveryRequest) -> None:
        await self._call.write(request)

    async def __aiter__(self) -> AsyncIterator[DeltaDiscoveryResponse]:
        while (response := await self._call.read()) is not grpc.aio.EOF:
            yield response


@asynccontextmanager
async def dial(address: str) -> AsyncIterator[ClientStream]:
    """A stream to the delta ADS server at `address` (`unix:/path` or `host:port`); `grpc.aio.AioRpcError` when it breaks."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        method = channel.stream_stream(
            f"/{SERVICE}/{METHOD}",
            request_serializer=DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )
        call = method()
        try:
            yield ClientStream(call)
        finally:
            call.cancel()
