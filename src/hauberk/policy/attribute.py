"""What a policy can ask about a request or a connection."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The thing that is asked about; what is absent (no certificate, no token, no such header) matches no pattern."""

    IDENTITY = "identity"  # text: the caller's SPIFFE ID; absent without mutual TLS
    DIRECT_IP = "direct_ip"  # address of whoever opened the connection
    REMOTE_IP = "remote_ip"  # address of the client, by trusted hops
    DESTINATION_IP = "destination_ip"
    PORT = "port"  # number: the workload's own port
    SNI = "sni"  # text
    HOST = "host"  # text; HTTP only, as the next five
    METHOD = "method"  # text
    PATH = "path"  # text, without query and fragment
    HEADER = "header"  # key: (lower-case name,); the values joined by a comma
    REQUEST_PRINCIPAL = "request_principal"  # issuer and subject of the verified token
    CLAIM = "claim"  # key: the path in the verified payload; a string or a list of strings
    METADATA = "metadata"  # key: (filter, key); dynamic metadata of a filter


_HTTP_ONLY: Final = frozenset({Kind.HOST, Kind.METHOD, Kind.PATH, Kind.HEADER, Kind.REQUEST_PRINCIPAL, Kind.CLAIM})


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute; `key` tells headers, claims and metadata from each other and is empty otherwise."""

    kind: Kind
    key: tuple[str, ...] = ()

    @property
    def http_only(self) -> bool:
        """It does not exist on a TCP connection."""
        return self.kind in _HTTP_ONLY
