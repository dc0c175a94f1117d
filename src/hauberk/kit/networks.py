"""Networks of addresses, and to which addresses a server of ours connects for somebody else's sake.

The owner of a name decides where it leads. Without limits he could have us ask our own machine, or the credentials service of its
cloud.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Clouds answer with credentials there, though the addresses look like any other's.
_METADATA: Final = frozenset(map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
# 0.0.0.0/8 reaches this machine on Linux; 192.0.0.0/24 and 240.0.0.0/4 are nobody's.
_SPECIAL: Final = tuple(map(IPv4Network, ("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4")))


class InvalidNetwork(ValueError):
    """A setting is no list of networks."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be asked: never `blocked`, always `allowed`, and else what is no machine's own, local or special address."""

    allowed: tuple[Network, ...] = ()
    blocked: tuple[Network, ...] = ()

    def includes(self, address: str) -> bool:
        """Whether a connection to `address` may be made."""
        return not _in(address, self.blocked) and is_allowed(address, self.allowed)


def is_allowed(address: str, allowed: Iterable[Network]) -> bool:
    """Whether `address` may be asked: the networks of `allowed`, and what is no machine's own, local or special one."""
    if _in(address, allowed):
        return True
    found = _parsed(address)
    if found is None or found in _METADATA or found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    return not (isinstance(found, IPv4Address) and any(found in each for each in _SPECIAL))


def read_networks(text: str, variable: str) -> tuple[Network, ...]:
    """The networks of a setting such as `127.0.0.0/8,fd00::/8`."""
    try:
        return tuple(ip_network(each.strip()) for each in text.split(",") if each.strip())
    except ValueError as exc:
        raise InvalidNetwork(f"{variable}={text!r} is no list of networks; write for example 127.0.0.0/8,10.1.0.0/16") from exc


def _in(address: str, networks: Iterable[Network]) -> bool:
    found = _parsed(address)
    return found is not None and any(found.version == network.version and found in network for network in networks)


def _parsed(address: str) -> Address | None:
    try:
        return _unwrapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _NAT64):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address
