"""What of a pod's traffic is captured: Istio's `traffic.sidecar.istio.io/*` annotations, read."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

PREFIX = "traffic.sidecar.istio.io/"
EVERYTHING = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """Which TCP connections pass the sidecar; `None` means all of that side."""

    included_inbound_ports: tuple[int, ...] | None = None
    excluded_inbound_ports: tuple[int, ...] = ()
    included_outbound_ports: tuple[int, ...] = ()
    excluded_outbound_ports: tuple[int, ...] = ()
    included_outbound_ranges: tuple[Network, ...] | None = None
    excluded_outbound_ranges: tuple[Network, ...] = ()
    nameservers: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Mistake:
    """An annotation that cannot be understood; the default stands in its place, which captures more, never less."""

    annotation: str
    message: str


def read_capture(annotations: Mapping[str, str], nameservers: tuple[str, ...] = ()) -> tuple[Capture, tuple[Mistake, ...]]:
    """The capture that a pod's annotations ask for, and what of them was not understood."""
    reader = _Reader(annotations)
    capture = Capture(
        included_inbound_ports=reader.ports_or_all("includeInboundPorts"),
        excluded_inbound_ports=reader.ports("excludeInboundPorts"),
        # `*` adds nothing to the default of the ranges, which is everything already.
        included_outbound_ports=reader.ports_or_all("includeOutboundPorts", absent="") or (),
        excluded_outbound_ports=reader.ports("excludeOutboundPorts"),
        included_outbound_ranges=reader.ranges_or_all("includeOutboundIPRanges"),
        excluded_outbound_ranges=reader.ranges("excludeOutboundIPRanges"),
        nameservers=tuple(ip_address(text) for text in nameservers),
    )
    return capture, tuple(reader.mistakes)


class _Reader:
    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations
        self.mistakes: list[Mistake] = []

    def ports_or_all(self, name: str, absent: str = EVERYTHING) -> tuple[int, ...] | None:
        text = self._annotations.get(PREFIX + name, absent).strip()
        if text == EVERYTHING:
            return None
        ports = self._ports(name, text)
        # A list of which nothing was understood must not turn into "capture nothing".
        return None if text and not ports and absent == EVERYTHING else ports

    def ports(self, name: str) -> tuple[int, ...]:
        return self._ports(name, self._annotations.get(PREFIX + name, ""))

    def ranges_or_all(self, name: str) -> tuple[Network, ...] | None:
        text = self._annotations.get(PREFIX + name, EVERYTHING).strip()
        if text == EVERYTHING:
            return None
        ranges = self._ranges(name, text)
        return None if text and not ranges else ranges

    def ranges(self, name: str) -> tuple[Network, ...]:
        return self._ranges(name, self._annotations.get(PREFIX + name, ""))

    def _ports(self, name: str, text: str) -> tuple[int, ...]:
        ports: list[int] = []
        for part in _parts(text):
            if part.isascii() and part.isdigit() and 0 < int(part) <= 65535:
                ports.append(int(part))
            else:
                self._mistake(name, f"{part!r} is not a port (1 to 65535)")
        return tuple(dict.fromkeys(ports))

    def _ranges(self, name: str, text: str) -> tuple[Network, ...]:
        ranges: list[Network] = []
        for part in _parts(text):
            try:
                ranges.append(ip_network(part, strict=False))
            except ValueError:
                self._mistake(name, f"{part!r} is not a range of addresses such as 10.0.0.0/8")
        return tuple(dict.fromkeys(ranges))

    def _mistake(self, name: str, message: str) -> None:
        self.mistakes.append(Mistake(PREFIX + name, message))


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)
