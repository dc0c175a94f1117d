"""What pilot knows of its proxies and of its own work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hauberk.api.metadata import ObjectKey
from hauberk.api.problem import Problem, problem
from hauberk.kit.clock import format_timestamp
from hauberk.xds.update import Rejection

Refusal = tuple[ObjectKey, Rejection]  # a pod, and a resource that its proxy refused
MOST_NAMED: Final = 3  # proxies that a message names one by one


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

    A refusal is an answer too: its proxy is neither among the acknowledged nor pending, and what it refused is in `rejected`.
    """

    affected: int
    acknowledged: int
    pending: tuple[str, ...] = ()
    rejected: tuple[Refusal, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.pending

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What proxies refused of the change."""
        return refusal_problems(self.rejected)


def refusal_problems(refusals: Iterable[Refusal]) -> tuple[Problem, ...]:
    """One problem a resource and reason, however many proxies refused it."""
    groups: dict[tuple[str, str, str], list[Refusal]] = {}
    for refusal in refusals:
        rejection = refusal[1]
        groups.setdefault((rejection.type_url, rejection.name, rejection.message), []).append(refusal)
    return tuple(_refusal_problem(group) for group in groups.values())


def _refusal_problem(group: list[Refusal]) -> Problem:
    pods = [f"{pod.namespace}/{pod.name}" for pod, _ in group]
    named = ", ".join(pods[:MOST_NAMED]) + (f" and {len(pods) - MOST_NAMED} more" if len(pods) > MOST_NAMED else "")
    rejection = group[0][1]
    what = f"{rejection.type_url.rpartition('.')[2]} {rejection.name or '(unnamed)'}"
    origins = dict.fromkeys(origin for _, each in group for origin in each.origins)
    message = f"the {'proxy' if len(pods) == 1 else 'proxies'} of {named} refused {what}: {rejection.message}"
    return problem("HBK0603", message, object=", ".join(origins) or f"Pod/{pods[0]}")


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
