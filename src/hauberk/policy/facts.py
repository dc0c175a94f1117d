"""What is known of a request or connection when its policies are asked: each attribute in the form in which it is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.claims import claim_at, claim_texts
from hauberk.policy.normalization import Level, normalized_path, without_query
from hauberk.policy.request import Peer, Request

Address = IPv4Address | IPv6Address

# Envoy keeps these beside the other headers, and a policy may ask about them as about those.
_PSEUDO: Final = frozenset({":authority", "host", ":method", ":path"})
_LONGEST_ADDRESS: Final = 64  # characters, with the name of an interface


@dataclass(frozen=True, slots=True)
class Facts:
    """A request after normalization; `path` is with its query, None if Envoy refuses the request for it."""

    request: Request
    peer: Peer
    path: str | None

    @property
    def refused(self) -> bool:
        """No policy is asked: the request is malformed (400)."""
        return self.request.http and self.path is None

    @property
    def url_path(self) -> str:
        """What `paths` are about."""
        return without_query(self.path or "")

    def texts(self, attribute: Attribute) -> tuple[str, ...]:
        """The texts that the attribute holds: more than one if it is a list, none if it is absent."""
        if attribute.http_only and not self.request.http:
            return ()
        if attribute.kind is Kind.CLAIM:
            return claim_texts(self.request.claims, attribute.key)
        text = _TEXT[attribute.kind](self, attribute.key)
        return () if text is None else (text,)

    def header(self, name: str) -> str | None:
        """The values of a header in the order in which they came."""
        if name in _PSEUDO:
            return {":method": self.request.method, ":path": self.path}.get(name, self.request.host)
        values = self.request.headers.get(name)
        return ",".join(values) if values else None

    def address(self, kind: Kind) -> Address | None:
        """The address of that kind."""
        if kind is Kind.DESTINATION_IP:
            return _address(self.request.destination_ip)
        if kind is Kind.REMOTE_IP:
            return _address(self.peer.remote_address or self.peer.address)
        return _address(self.peer.address)

    def principal(self) -> tuple[str, str] | None:
        """Issuer and subject of the verified token."""
        claims = self.request.claims if self.request.http else None
        issuer, subject = claim_at(claims, ("iss",)), claim_at(claims, ("sub",))
        return (issuer, subject) if isinstance(issuer, str) and isinstance(subject, str) else None

    def metadata(self, key: tuple[str, ...]) -> Any:
        """What a filter has said."""
        return self.request.metadata.get(key[0], {}).get(key[1])

    def shown(self, attribute: Attribute) -> str:
        """What the request has, for a reader; empty if nothing."""
        match attribute.kind:
            case Kind.DIRECT_IP | Kind.REMOTE_IP | Kind.DESTINATION_IP:
                return str(self.address(attribute.kind) or "")
            case Kind.REQUEST_PRINCIPAL:
                return "/".join(self.principal() or ())
            case Kind.CLAIM:
                value = claim_at(self.request.claims, attribute.key)
                return "" if value is None else value if isinstance(value, str) else _as_list(value)
            case Kind.METADATA:
                return str(self.metadata(attribute.key) or "")
            case _:
                return ", ".join(self.texts(attribute))


def observe(request: Request, peer: Peer, level: Level = "DEFAULT") -> Facts:
    """`request` as it is judged."""
    return Facts(request, peer, normalized_path(request.path, level) if request.http else "")


def _metadata_text(facts: Facts, key: tuple[str, ...]) -> str | None:
    value = facts.metadata(key)
    return value if isinstance(value, str) else None


_TEXT: Final[dict[Kind, Callable[[Facts, tuple[str, ...]], str | None]]] = {
    Kind.IDENTITY: lambda facts, _: facts.peer.identity,
    Kind.PATH: lambda facts, _: facts.url_path,
    Kind.METHOD: lambda facts, _: facts.request.method,
    Kind.HOST: lambda facts, _: facts.request.host,
    Kind.HEADER: lambda facts, key: facts.header(key[0]),
    Kind.SNI: lambda facts, _: facts.request.sni,
    Kind.PORT: lambda facts, _: str(facts.request.port),
    Kind.METADATA: _metadata_text,
}


def _as_list(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def _address(text: str | None) -> Address | None:
    return _parsed_address(text) if text and len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _parsed_address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
