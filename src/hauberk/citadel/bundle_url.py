"""Addresses of bundle endpoints: which URLs are taken, and to which addresses a control plane connects for somebody else's sake.

A foreign name's owner decides where it leads. Without limits he could have the control plane ask its own machine, or the
credentials service of its cloud.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urljoin, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LONGEST: Final = 2048
# Clouds answer with credentials there, though the addresses look like any other's.
_METADATA: Final = frozenset(map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))


class InvalidUrl(ValueError):
    """A URL is not one of a bundle endpoint; the message says why."""


class InvalidNetwork(ValueError):
    """A setting is no list of networks."""


@dataclass(frozen=True, slots=True)
class BundleUrl:
    """A checked https URL."""

    host: str
    port: int
    target: str  # path and query

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.authority}{self.target}"


def parse_url(text: str) -> BundleUrl:
    """The URL in `text`; raises InvalidUrl. Scheme https, no user information (SPIFFE Federation, 5.1)."""
    if len(text) > _LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidUrl(f"a bundle endpoint's URL has at most {_LONGEST} printable ASCII characters and no spaces")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise InvalidUrl(f"{text[:80]!r} is no URL") from exc
    if parts.scheme != "https":
        raise InvalidUrl(f"a bundle endpoint's URL begins with https://, not {text[:20]!r}")
    if "@" in parts.netloc:
        raise InvalidUrl("a bundle endpoint's URL has no user information")
    if not parts.hostname:
        raise InvalidUrl("a bundle endpoint's URL names a host")
    if parts.fragment:
        raise InvalidUrl("a bundle endpoint's URL has no fragment")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return BundleUrl(parts.hostname, 443 if port is None else port, target)


def redirected(url: BundleUrl, location: str) -> BundleUrl:
    """Where `location` in an answer from `url` leads; the rules are the same as for the first URL. Raises InvalidUrl."""
    try:
        target = urljoin(str(url), location)
    except ValueError as exc:
        raise InvalidUrl(f"a redirect leads to {location[:80]!r}, which is no URL") from exc
    return parse_url(target)


def is_allowed(address: str, allowed: Iterable[Network]) -> bool:
    """Whether the control plane connects to `address`: the networks of `allowed`, and what is no machine's own, local or special one."""
    try:
        found = _unwrapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    if any(found.version == network.version and found in network for network in allowed):
        return True
    if found in _METADATA or found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    # 0.0.0.0/8 reaches this machine on Linux; 192.0.0.0/24 and 240.0.0.0/4 are nobody's.
    special = ("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4")
    return not (isinstance(found, IPv4Address) and any(found in IPv4Network(each) for each in special))


def read_networks(text: str, variable: str) -> tuple[Network, ...]:
    """The networks of a setting such as `127.0.0.0/8,fd00::/8`."""
    try:
        return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())
    except ValueError as exc:
        raise InvalidNetwork(f"{variable}={text!r} is no list of networks; write for example 127.0.0.0/8,10.1.0.0/16") from exc


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _NAT64):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address
