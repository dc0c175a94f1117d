"""What a workload's own sidecar has to guard."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.mesh.inbound import build_inbound
from hauberk.mesh.peer_authentication import Modes
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.mesh.workload import Workload

WORKLOAD = Workload(
    key=ObjectKey("Pod", "shop", "web"),
    service_account="web",
    addresses=("10.244.0.2",),
    labels={},
    ports={"main": 8080},
    ready=True,
    serving=True,
    meshed=True,
    hostname="",
    subdomain="",
)
STRICT = Modes(MtlsMode.STRICT)


def service(name: str, *ports: tuple[int | str, Protocol]) -> MeshService:
    return MeshService(
        key=ObjectKey("Service", "shop", name),
        host=f"{name}.shop.svc.cluster.local",
        addresses=("10.96.0.1",),
        ports=tuple(MeshPort("", 80 + number, target, protocol) for number, (target, protocol) in enumerate(ports)),
        selector={},
        publish_not_ready=False,
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


def protocols(modes: Modes, *services: MeshService) -> dict[int, Protocol]:
    return {port.number: port.protocol for port in build_inbound(WORKLOAD, modes, (), *services).ports}


def test_ports_are_the_targets_of_services_by_number_and_by_name() -> None:
    assert protocols(STRICT, service("a", ("main", Protocol.HTTP), (9000, Protocol.TCP))) == {8080: Protocol.HTTP, 9000: Protocol.TCP}


def test_of_two_services_that_say_what_a_port_speaks_the_older_decides() -> None:
    assert protocols(STRICT, service("old", (8080, Protocol.TCP)), service("new", (8080, Protocol.HTTP))) == {8080: Protocol.TCP}


@pytest.mark.parametrize("silent_first", [True, False])
def test_a_service_that_says_what_a_port_speaks_is_believed_before_one_that_does_not(silent_first: bool) -> None:
    silent, telling = service("silent", ("main", Protocol.SNIFFED)), service("telling", (8080, Protocol.HTTP))
    assert protocols(STRICT, *((silent, telling) if silent_first else (telling, silent))) == {8080: Protocol.HTTP}


def test_a_port_that_only_a_mode_names_is_looked_at() -> None:
    modes = Modes(MtlsMode.STRICT, ports=((8080, MtlsMode.DISABLE), (9000, MtlsMode.PERMISSIVE)))
    inbound = build_inbound(WORKLOAD, modes, (), service("web", (8080, Protocol.HTTP)))
    assert [(port.number, port.protocol, port.mode) for port in inbound.ports] == [
        (8080, Protocol.HTTP, MtlsMode.DISABLE),
        (9000, Protocol.SNIFFED, MtlsMode.PERMISSIVE),
    ]
