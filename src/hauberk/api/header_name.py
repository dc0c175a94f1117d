"""Names of HTTP headers in settings, and those that only the mesh may write."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110
_PLAIN = re.compile(r"[-_A-Za-z0-9]+")
_RESERVED = frozenset(
    {
        *("host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length"),
        *("forwarded", "via", "x-request-id", "traceparent", "tracestate"),
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-client-cert"),
    }
)


def header_fault(name: str, *, plain: bool = False) -> str | None:
    """Why `name` is no header's name; `plain`: of letters, digits, - and _ alone."""
    if not name or len(name) > 256:
        return "must have 1 to 256 characters"
    if not (_PLAIN if plain else _TOKEN).fullmatch(name):
        return "may hold only letters, digits, - and _" if plain else "holds a character that no name of a header may hold"
    return None


def is_of_mesh(name: str) -> bool:
    """The header means something to the proxies: who else writes it could pass for somebody, or break the connection."""
    lower = name.lower()
    return lower in _RESERVED or lower.startswith(("x-envoy-", "x-hauberk-", ":"))
