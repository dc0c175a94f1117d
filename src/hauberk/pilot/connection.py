"""One connected proxy, as pilot sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from hauberk.api.metadata import ObjectKey
from hauberk.kit.clock import Clock
from hauberk.pilot.status import ProxyStatus
from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.session import DeltaSession
from hauberk.xds.stream import DeltaStream
from hauberk.xds.update import Rejection


class ConnectionListener(Protocol):
    """Who wants to know what happens to a connection."""

    def on_open(self, connection: Connection) -> None: ...

    def on_answer(self, connection: Connection, *, refused: bool) -> None: ...

    def on_close(self, connection: Connection) -> None: ...


class Connection:
    """The stream of one pod's proxy (an agent's relay speaks for it) and what went over it."""

    def __init__(self, pod: ObjectKey, listener: ConnectionListener, clock: Clock, rejections: tuple[Rejection, ...]) -> None:
        self.pod = pod
        self._listener = listener
        self._clock = clock
        self._session = DeltaSession(rejections=rejections)
        self._stream: DeltaStream | None = None
        self._pushed_at: datetime | None = None
        self._acked_at: datetime | None = None
        self._reported: ResourceSet | None = None

    @property
    def session(self) -> DeltaSession:
        return self._session

    # --- StreamOwner

    def opened(self, stream: DeltaStream) -> None:
        self._stream = stream
        self._listener.on_open(self)

    def heard(self, request: DeltaDiscoveryRequest) -> None:
        if request.response_nonce:
            self._acked_at = self._clock.now()
        self._listener.on_answer(self, refused=request.HasField("error_detail"))

    def closed(self) -> None:
        self._stream = None
        self._listener.on_close(self)

    # --- pilot

    def push(self, layers: tuple[Layer, ...], revision: int) -> bool:
        """Bring the proxy to `layers`; whether that needs its acknowledgement. Layers it is on its way to already need none."""
        before = self._session.target
        if self._stream is None or (before is not None and before.layers == layers):
            return False
        needed = self._stream.tell(ResourceSet(layers, revision))
        if needed:
            self._pushed_at = self._clock.now()
        return needed

    def newly_acknowledged(self) -> int | None:
        """The revision that the proxy holds all of, once for each set of resources: steps of a turn are of one revision."""
        session = self._session
        if not session.synced or session.target is self._reported:
            return None
        self._reported = session.target
        return session.acknowledged

    def status(self) -> ProxyStatus:
        session = self._session
        return ProxyStatus(
            pod=self.pod,
            connected=True,
            synced=session.synced,
            revision=session.acknowledged,
            pushed_at=self._pushed_at,
            acked_at=self._acked_at,
            rejections=session.rejections,
        )
