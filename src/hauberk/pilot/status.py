"""What pilot knows of its proxies and of its own work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hauberk.api.metadata import ObjectKey
from hauberk.kit.clock import format_timestamp
from hauberk.xds.update import Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyStatus:
    """One proxy; `synced`: it holds all of its latest configuration, what it refused excepted."""

    pod: ObjectKey
    connected: bool
    synced: bool
    revision: int | None = None
    pushed_at: datetime | None = None
    acked_at: datetime | None = None
    rejections: tuple[Rejection, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Its part of `hauberk status -o json`."""
        return {
            "pod": self.pod.name,
            "namespace": self.pod.namespace,
            "connected": self.connected,
            "synced": self.synced,
            "pushedAt": format_timestamp(self.pushed_at) if self.pushed_at else None,
            "ackedAt": format_timestamp(self.acked_at) if self.acked_at else None,
            "rejected": [rejection_to_json(rejection) for rejection in self.rejections],
        }


def rejection_to_json(rejection: Rejection) -> dict[str, Any]:
    """A refused resource with the objects it came from."""
    kind = rejection.type_url.rpartition(".")[2]
    return {"resource": f"{kind}/{rejection.name}", "object": ", ".join(rejection.origins), "message": rejection.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """How a change arrived: proxies `affected` by it, of these `acknowledged`, and the names of those `pending`.

    A refusal is an answer too: it counts as acknowledged and is in `rejected` (pod, refused resource).
    """

    affected: int
    acknowledged: int
    pending: tuple[str, ...] = ()
    rejected: tuple[tuple[ObjectKey, Rejection], ...] = ()

    @property
    def complete(self) -> bool:
        return not self.pending


@dataclass(slots=True)
class Counters:
    """Work done since the start; seconds are sums."""

    snapshots: int = 0
    snapshot_seconds: float = 0.0
    pushes: int = 0
    push_seconds: float = 0.0
    affected: int = 0
    responses: int = 0
    resources: int = 0
    connections: int = 0
    acknowledgements: int = 0
    rejections: int = 0

    def to_json(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 3) for name in self.__slots__}
