"""What a decision is about: a request or connection, its caller, and the workload that it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request (`http`) or a TCP connection; of the latter only `port` is known.

    `port` is the workload's own, not the Service's. `path` is the normalized one; its query does not count.
    """

    port: int
    http: bool = True
    method: str = ""
    path: str = ""
    host: str = ""

    @property
    def url_path(self) -> str:
        """The path without query and fragment."""
        return self.path.split("?", 1)[0].split("#", 1)[0]


@dataclass(frozen=True, slots=True)
class Peer:
    """The caller; `identity` is its SPIFFE ID, None for a plaintext connection."""

    identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Who is called."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
