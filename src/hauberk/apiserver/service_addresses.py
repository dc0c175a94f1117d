"""The addresses of Services: given once, kept until the Service goes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from hauberk.api.service import HEADLESS, IpFamily, Service, ServiceSpec
from hauberk.kit.digest import digest

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

DEFAULT_IPV4 = IPv4Network("10.96.0.0/16")
DEFAULT_IPV6 = IPv6Network("fd00:10:96::/112")
RESERVED = 16  # first addresses of each range: left to those who ask for one, as Kubernetes leaves a part for it


class AddressRefused(ValueError):
    """The addresses asked for cannot be had."""


class AddressFixed(ValueError):
    """A Service keeps the addresses it was made with."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Where Services' addresses come from."""

    ipv4: IPv4Network = DEFAULT_IPV4
    ipv6: IPv6Network = DEFAULT_IPV6

    def of(self, family: IpFamily) -> Network:
        return self.ipv4 if family == "IPv4" else self.ipv6


@dataclass(slots=True)
class Allocation:
    """The addresses that are taken, and those given meanwhile."""

    ranges: Ranges
    taken: dict[str, str] = field(default_factory=dict)  # address -> NAMESPACE/NAME

    @classmethod
    def of(cls, ranges: Ranges, services: Iterable[Service]) -> "Allocation":
        """What is left beside these Services' addresses."""
        return cls(ranges, {address: _name(each) for each in services for address in asked_addresses(each.spec)})

    def place(self, service: Service, present: Service | None) -> Service:
        """The Service with addresses: those it has, those it asks for, else free ones, of each family it wants."""
        spec = service.spec
        if present is not None:
            return service.model_copy(update={"spec": _kept(spec, present.spec)})
        if HEADLESS in (spec.cluster_ip, *spec.cluster_ips):
            return service.model_copy(update={"spec": _addressed(spec, (), headless=True)})
        addresses = self._claim(service)
        return service.model_copy(update={"spec": _addressed(spec, addresses)})

    def _claim(self, service: Service) -> tuple[str, ...]:
        asked = {_family(address): address for address in asked_addresses(service.spec)}
        for address in asked.values():
            self._check(address, service)
        families = _families(service.spec, tuple(asked))
        claimed = tuple(asked.get(family) or self._free(service, family) for family in families)
        self.taken.update((address, _name(service)) for address in claimed)
        return claimed

    def _check(self, address: str, service: Service) -> None:
        wanted = self.ranges.of(_family(address))
        if ip_address(address) not in wanted:
            raise AddressRefused(f"{address} is outside of {wanted}, the range of Services' addresses")
        owner = self.taken.get(address)
        if owner is not None and owner != _name(service):
            raise AddressRefused(f"{address} is the address of Service {owner}")

    def _free(self, service: Service, family: IpFamily) -> str:
        network = self.ranges.of(family)
        size = network.num_addresses - RESERVED - 1  # the last one is IPv4's broadcast
        # By name and not by chance: the same files give the same addresses in every mesh.
        start = int(digest(family.encode(), _name(service).encode()), 16)
        for step in range(size):
            address = str(network[RESERVED + (start + step) % size])
            if address not in self.taken:
                return address
        raise AddressRefused(f"all addresses of {network} are taken")


def asked_addresses(spec: ServiceSpec) -> tuple[str, ...]:
    """The addresses that a Service names, in their canonical form."""
    named = dict.fromkeys(text for text in (spec.cluster_ip, *spec.cluster_ips) if text and text != HEADLESS)
    return tuple(str(ip_address(text)) for text in named)


def _kept(spec: ServiceSpec, present: ServiceSpec) -> ServiceSpec:
    """The new spec with the addresses that the Service has."""
    named = (spec.cluster_ip, *spec.cluster_ips)
    if (HEADLESS in named) != (present.cluster_ip == HEADLESS) and any(named):
        raise AddressFixed("a Service cannot become headless, nor cease to be")
    if any(address not in asked_addresses(present) for address in asked_addresses(spec)):
        raise AddressFixed(f"the addresses of a Service are fixed: it has {', '.join(asked_addresses(present)) or 'none'}")
    fixed = ("cluster_ip", "cluster_ips", "ip_families", "ip_family_policy")
    return spec.model_copy(update={name: getattr(present, name) for name in fixed})


def _addressed(spec: ServiceSpec, addresses: tuple[str, ...], *, headless: bool = False) -> ServiceSpec:
    families = tuple(_family(address) for address in addresses) or spec.ip_families or ("IPv4", "IPv6")
    return spec.model_copy(
        update={
            "cluster_ip": HEADLESS if headless else addresses[0],
            "cluster_ips": (HEADLESS,) if headless else addresses,
            "ip_families": families,
            "ip_family_policy": spec.ip_family_policy or ("PreferDualStack" if len(families) == 2 else "SingleStack"),
        }
    )


def _families(spec: ServiceSpec, asked: tuple[IpFamily, ...]) -> tuple[IpFamily, ...]:
    """The families a Service wants, its first one first. Both, unless it says otherwise: every pod has both."""
    first = spec.ip_families or asked
    if spec.ip_family_policy == "SingleStack" or (spec.ip_family_policy is None and len(spec.ip_families) == 1):
        return first[:1] or ("IPv4",)
    both: tuple[IpFamily, ...] = ("IPv4", "IPv6")
    return tuple(dict.fromkeys((*first, *both)))


def _family(address: str) -> IpFamily:
    return "IPv4" if ip_address(address).version == 4 else "IPv6"


def _name(service: Service) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"
