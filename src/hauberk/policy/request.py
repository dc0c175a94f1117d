"""What a decision is about: a request or connection, its caller, and the workload that it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request (`http`) or a TCP connection, of which `method` to `headers` and `claims` are not known.

    `port` is the workload's own, not the Service's. `path` is as it was sent, with its query. `headers` have lower-case names.
    `claims` is the verified payload of the token, None without one. `metadata` is what filters say: `{filter: {key: value}}`.
    """

    port: int
    http: bool = True
    method: str = ""
    path: str = ""
    host: str = ""
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sni: str | None = None
    claims: Mapping[str, Any] | None = None
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    destination_ip: str | None = None

    @property
    def url_path(self) -> str:
        """The path without query and fragment."""
        return self.path.split("?", 1)[0].split("#", 1)[0]


@dataclass(frozen=True, slots=True)
class Peer:
    """The caller; `identity` is its SPIFFE ID, None for a plaintext connection.

    `address` is that of the connection, `remote_address` that of the client by trusted hops; None: not known, or the same.
    """

    identity: str | None = None
    address: str | None = None
    remote_address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Who is called."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
