"""Service: a name and addresses for the pods that its selector matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any, ClassVar, Literal

from pydantic import Field

from hauberk.api.condition import Condition
from hauberk.api.finding import Finding, Location
from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel, Bool, IntOrString, Port
from hauberk.api.name import label_fault, port_name_fault, service_name_fault

IpFamily = Literal["IPv4", "IPv6"]
HEADLESS = "None"  # as clusterIP: no address of its own, names resolve to the pods


def _same_as_port(fields: dict[str, Any]) -> int:
    port: int = fields.get("port", 0)
    return port


class ServicePort(ApiModel):
    """One port; `target_port` is a number or the name of a container's port, by default the same number."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"nodePort"})

    name: str = ""
    port: Port
    target_port: IntOrString = Field(default_factory=_same_as_port)
    protocol: Literal["TCP", "UDP"] = "TCP"
    app_protocol: str | None = None


class ServiceSpec(ApiModel):
    """What a Service is asked to be; the addresses are given by the API unless asked for."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"internalTrafficPolicy", "externalTrafficPolicy", "allocateLoadBalancerNodePorts"})
    IGNORED: ClassVar[frozenset[str]] = frozenset(
        {
            *("healthCheckNodePort", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges", "externalIPs"),
            *("sessionAffinityConfig", "trafficDistribution"),
        }
    )
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"externalName"})

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    cluster_ip: str | None = None
    cluster_ips: tuple[str, ...] = ()
    ip_families: tuple[IpFamily, ...] = ()
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = {}
    publish_not_ready_addresses: Bool = False
    session_affinity: Literal["None", "ClientIP"] = "None"


class ServiceStatus(ApiModel):
    """What is known of a Service."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"loadBalancer"})

    conditions: tuple[Condition, ...] = ()


class Service(ApiObject):
    """A named destination."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Service"] = "Service"
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    @property
    def headless(self) -> bool:
        return self.spec.cluster_ip == HEADLESS

    @staticmethod
    def name_fault(name: str) -> str | None:
        return service_name_fault(name)

    def findings(self) -> Iterator[Finding]:
        return check_service(self)


def check_service(service: Service) -> Iterator[Finding]:
    """Mistakes that types alone do not show."""
    spec = service.spec
    if not spec.ports and not service.headless:
        yield Finding("HBK0105", ("spec", "ports"), "a Service needs at least one port, unless its clusterIP is None")
    if spec.type != "ClusterIP":
        yield Finding("HBK0202", ("spec", "type"), f"{spec.type} is treated as ClusterIP: nothing outside the mesh reaches it")
    if spec.session_affinity != "None":
        yield Finding("HBK0202", ("spec", "sessionAffinity"), "session affinity is not kept")
    yield from _check_addresses(spec)
    yield from _check_ports(spec.ports)


def _check_addresses(spec: ServiceSpec) -> Iterator[Finding]:
    asked: list[tuple[Location, str]] = [(("spec", "clusterIPs", index), text) for index, text in enumerate(spec.cluster_ips)]
    if spec.cluster_ip is not None:
        asked.append((("spec", "clusterIP"), spec.cluster_ip))
    for at, text in asked:
        if text not in (HEADLESS, "") and not _is_address(text):
            yield Finding("HBK0110", at, f"{text!r} is neither an IP address nor None")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _check_ports(ports: tuple[ServicePort, ...]) -> Iterator[Finding]:
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        at: Location = ("spec", "ports", index)
        if not port.name and len(ports) > 1:
            yield Finding("HBK0105", at, "a port needs a name when a Service has several")
        if port.name and (fault := label_fault(port.name)):
            yield Finding("HBK0108", (*at, "name"), f"{port.name!r} is no port name: it {fault}")
        if port.name and port.name in names:
            yield Finding("HBK0112", (*at, "name"), f"the name {port.name!r} is used by two ports")
        if (port.port, port.protocol) in numbers:
            yield Finding("HBK0112", (*at, "port"), f"port {port.port}/{port.protocol} is declared twice")
        names.add(port.name)
        numbers.add((port.port, port.protocol))
        yield from _check_target(at, port.target_port)


def _check_target(at: Location, target: int | str) -> Iterator[Finding]:
    if isinstance(target, str):
        if fault := port_name_fault(target):
            remedy = "write the number without quotes" if target.isdigit() else None
            yield Finding("HBK0108", (*at, "targetPort"), f"{target!r} is no name of a container's port: it {fault}", remedy)
    elif not 1 <= target <= 65535:
        yield Finding("HBK0107", (*at, "targetPort"), f"{target} is no port number; ports go from 1 to 65535")
