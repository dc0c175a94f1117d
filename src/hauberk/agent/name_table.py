"""The names of the mesh as one frozen table, and what each name stands for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Labels: TypeAlias = tuple[str, ...]  # lower case, most specific first, without the root

ZONE: Final[Labels] = ("cluster", "local")
SERVICES: Final[Labels] = ("svc", *ZONE)


@dataclass(frozen=True)
class NameTable:
    """All names below `cluster.local`; a name with no address of its own, but with names below it, exists too."""

    revision: int = 0
    addresses: Mapping[Labels, tuple[Address, ...]] = field(default_factory=dict)

    @cached_property
    def _existing(self) -> frozenset[Labels]:
        return frozenset(suffix for labels in (*self.addresses, SERVICES) for suffix in _suffixes(labels))

    @cached_property
    def _reverse(self) -> Mapping[Address, Labels]:
        # A pod of several headless services has several names: the longest tells most (it names the pod itself).
        ordered = sorted(self.addresses.items(), key=lambda item: (len(item[0]), item[0]))
        return {address: labels for labels, addresses in ordered for address in addresses}

    def find(self, labels: Labels) -> tuple[Address, ...] | None:
        """The addresses of a name: empty if it exists without any, None if it does not exist."""
        if (found := self.addresses.get(labels)) is not None:
            return found
        return () if labels in self._existing else None

    def name_of(self, address: Address) -> Labels | None:
        """The name that stands for that address."""
        return self._reverse.get(address)


def read_table(document: Mapping[str, Any]) -> NameTable:
    """The table in the form in which the control plane's `/v1/names` gives it."""
    addresses: dict[Labels, tuple[Address, ...]] = {}
    for name, service in document["services"].items():
        labels = (*name.lower().split("."), *SERVICES)
        addresses[labels] = _unique(_service_addresses(service))
        for endpoint in service.get("endpoints", ()):
            if hostname := endpoint.get("hostname"):
                own = (hostname.lower(), *labels)
                addresses[own] = _unique([*map(str, addresses.get(own, ())), *endpoint["addresses"]])
    return NameTable(int(document.get("revision", 0)), addresses)


def _service_addresses(service: Mapping[str, Any]) -> list[str]:
    if service.get("headless"):
        return [address for endpoint in service.get("endpoints", ()) for address in endpoint["addresses"]]
    return list(service.get("addresses", ()))


def _unique(texts: Iterable[str]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(ip_address(text) for text in texts))


def _suffixes(labels: Labels) -> Iterator[Labels]:
    return (labels[start:] for start in range(len(labels)))
