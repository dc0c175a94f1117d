"""Where a control plane listens for other machines, and where they find it: what the environment says."""

import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self

from hauberk.kit.tls_door import listen_tcp

LISTEN_VARIABLE: Final = "HAUBERK_LISTEN"
ADVERTISE_VARIABLE: Final = "HAUBERK_ADVERTISE"
_HIGHEST_PORT: Final = 65535

Address = tuple[str, int]


class ListenInvalid(ValueError):
    """A setting is no address."""

    def __init__(self, source: str, text: str) -> None:
        super().__init__(f"{source}={text!r} is no address: write HOST:PORT, such as 10.0.0.1:7443 or [::1]:7443")


class ListenImpossible(OSError):
    """Nobody can be served at the address; `hint` says what to do."""

    def __init__(self, address: Address, why: str) -> None:
        super().__init__(f"cannot listen for other machines at {format_address(address)}: {why}")
        self.hint = f"give another address with `hauberk up --listen HOST:PORT`, or unset {LISTEN_VARIABLE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """`address` is bound, `advertised` is what join files say."""

    address: Address
    advertised: tuple[Address, ...]

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self | None:
        """What the environment says; None: no other machine is served. Raises ListenInvalid."""
        found = os.environ if environment is None else environment
        text = found.get(LISTEN_VARIABLE, "")
        if not text:
            return None
        address = parse_address(text, LISTEN_VARIABLE)
        listed = tuple(each.strip() for each in found.get(ADVERTISE_VARIABLE, "").split(",") if each.strip())
        advertised = tuple(parse_address(each, ADVERTISE_VARIABLE) for each in listed)
        return cls(address=address, advertised=advertised or (_reachable(address),))


def open_listener(listen: Listen) -> socket.socket:
    """The socket that other machines connect to; raises ListenImpossible."""
    try:
        return listen_tcp(listen.address)
    except OSError as exc:
        raise ListenImpossible(listen.address, exc.strerror or str(exc)) from exc


def parse_address(text: str, source: str) -> Address:
    """`HOST:PORT`, an IPv6 address in brackets; raises ListenInvalid."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or (":" in host) != bracketed or not (port.isascii() and port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
        raise ListenInvalid(source, text)
    return host, int(port)


def format_address(address: Address) -> str:
    """The same as text."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reachable(address: Address) -> Address:
    """Where others find what listens there: on all addresses means by the machine's name."""
    try:
        everywhere = ip_address(address[0]).is_unspecified
    except ValueError:
        everywhere = False
    return (platform.node(), address[1]) if everywhere else address
