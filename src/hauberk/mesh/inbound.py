"""What a workload's own sidecar has to guard: its ports, their protocols and modes, and the policies that select it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.mesh.peer_authentication import Modes
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.request_authentication import TokenRule
from hauberk.mesh.service import MeshService
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class InboundPort:
    """A port of the workload that a service (or a port-level mode) names."""

    number: int
    protocol: Protocol
    mode: MtlsMode


@dataclass(frozen=True, slots=True)
class Inbound:
    """The inbound side of one workload. `policies` is the same tuple for all workloads that the same policies select, `tokens` likewise.

    `mode` is that of ports which nothing names. `mode_origins` and `service_origins` are the objects that decided about modes
    and about ports.
    """

    workload: ObjectKey
    addresses: tuple[str, ...]
    ports: tuple[InboundPort, ...]
    mode: MtlsMode
    policies: tuple[AuthorizationPolicy, ...]
    mode_origins: tuple[str, ...]
    service_origins: tuple[str, ...]
    tokens: tuple[TokenRule, ...] = ()  # of end users, which it verifies
    limits: tuple[RateLimitPolicy, ...] = ()  # bounds on its requests


def with_policies(inbound: Inbound, policies: tuple[AuthorizationPolicy, ...]) -> Inbound:
    """The same workload, selected by `policies`."""
    return replace(inbound, policies=policies) if policies else inbound


def with_tokens(inbound: Inbound, tokens: tuple[TokenRule, ...]) -> Inbound:
    """The same workload, which verifies the tokens of `tokens`."""
    return replace(inbound, tokens=tokens) if tokens else inbound


def with_limits(inbound: Inbound, limits: tuple[RateLimitPolicy, ...]) -> Inbound:
    """The same workload, whose requests `limits` bound."""
    return replace(inbound, limits=limits) if limits else inbound


def build_inbound(workload: Workload, modes: Modes, policies: tuple[AuthorizationPolicy, ...], *services: MeshService) -> Inbound:
    """The inbound side of `workload`, which `services` (the oldest first) select.

    Of two that name one port and say what it speaks, the older decides.
    """
    protocols = dict.fromkeys((number for number, _ in modes.ports), Protocol.SNIFFED)
    for service in services:
        for port in service.ports:
            number = port.number_on(workload)
            # Who declares a protocol knows more than who does not: their callers' sidecars rely on it when they speak HTTP/2 for them.
            if number is not None and protocols.get(number, Protocol.SNIFFED) is Protocol.SNIFFED:
                protocols[number] = port.protocol
    return Inbound(
        workload=workload.key,
        addresses=workload.addresses,
        ports=tuple(InboundPort(number, protocol, modes.of(number)) for number, protocol in sorted(protocols.items())),
        mode=modes.default,
        policies=policies,
        mode_origins=modes.origins,
        service_origins=tuple(str(service.key) for service in services),
    )
