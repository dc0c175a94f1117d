"""What is asked: an imagined request, or one of which a record tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hauberk.policy.attribute import Kind
from hauberk.policy.authentication import LARGEST_HEADERS

DEFAULT_NAMESPACE = "default"
LONGEST_IDENTITY: Final = 2048  # characters, as SPIFFE has it


class Unanswerable(ValueError):
    """The question cannot be answered as it is put; `remedy` says how it could, `in_files` how if files are all that is asked."""

    def __init__(self, message: str, remedy: str = "", *, in_files: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
        self.in_files = in_files or remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who asks whom for what.

    `source` is NAMESPACE/SERVICEACCOUNT, a pod's name (`pod/NAME[.NAMESPACE]`, NAME[.NAMESPACE]), or empty for a caller without
    identity, who speaks plaintext. `to` is SERVICE[.NAMESPACE], `pod/NAME`, `deploy/NAME`; or else `labels` say which workload of
    `namespace` is meant. `port` is the Service's (a workload's own, if a workload is meant). Without `method` and `path` it is a
    connection on ports where that can be. `token` is a raw JWT, `claims` are those of a token taken as verified.

    `unknown`: what nobody knows of the request, such as the headers of one that only a record tells of.
    """

    source: str = ""
    trust_domain: str = ""
    address: str | None = None
    to: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    port: int | None = None
    method: str = ""
    path: str = ""
    host: str = ""
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sni: str | None = None
    token: str | None = None
    claims: Mapping[str, Any] | None = None
    unknown: frozenset[Kind] = frozenset()

    def __post_init__(self) -> None:
        """Refuses what no sidecar would take: to hold megabytes against every policy is work for nothing."""
        if len(self.source) + len(self.trust_domain) > LONGEST_IDENTITY:
            raise Unanswerable(f"from: no identity has more than {LONGEST_IDENTITY} characters", "name who calls")
        if self._size > LARGEST_HEADERS:
            told = f"the request is larger than the {LARGEST_HEADERS // 1024} KiB that a sidecar takes: it answers 431"
            raise Unanswerable(told, "ask about less than that of path, headers and token")

    @property
    def _size(self) -> int:
        texts = (self.to, self.namespace, self.method, self.path, self.host, self.address or "", self.sni or "", self.token or "")
        return sum(map(len, texts)) + sum(len(name) + len(value) for name, values in self.headers.items() for value in values)

    @property
    def asks_http(self) -> bool:
        """It is put about a request, not about a connection."""
        return bool(self.method or self.path)

    def header(self, name: str) -> tuple[str, ...]:
        """The values of a header, by its lower-case name."""
        return self.headers.get(name, ())

    def to_document(self) -> dict[str, Any]:
        """As the API takes it, without what is not said."""
        told: dict[str, Any] = {
            "from": self.source,
            "fromTrustDomain": self.trust_domain,
            "fromAddress": self.address,
            "to": self.to,
            "labels": dict(self.labels),
            "namespace": self.namespace,
            "port": self.port,
            "method": self.method,
            "path": self.path,
            "host": self.host,
            "headers": {name: list(values) for name, values in self.headers.items()},
            "sni": self.sni,
            "token": self.token,
            "claims": self.claims,
        }
        return {name: value for name, value in told.items() if value not in ("", None, {})}
