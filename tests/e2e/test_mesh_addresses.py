"""Where a program listens and how its Service leads to it: every address, ports by name and number, replicas, headless services."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e import objects
from tests.e2e.callers import ask, ask_often
from tests.e2e.objects import port
from tests.e2e.programs import server_command
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

# Ports by the address that the program binds; an empty one is the pod's own, which the program is told by POD_IP.
BOUND = {"0.0.0.0": 8080, "127.0.0.1": 8081, "": 8082, "[::]": 8083, "[::1]": 8084}
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
NAMED = [{"name": "first-port", "containerPort": 8080}, {"name": "second-port", "containerPort": 8081}]


@pytest.fixture(scope="module")
def town(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A program on every kind of address, two replicas of another, and a caller."""
    mesh = shared_mesh.namespace("addresses")
    binds = [f"http@{address}:{number}" for address, number in BOUND.items()]
    raw = [f"tcp@{address}:{number + 1000}" for address, number in BOUND.items()]
    replica = server_command("http@[::]:8080", "tcp@[::]:9000")
    objects.apply(
        mesh,
        objects.pod("server", server_command(*binds, *raw), container={"env": [POD_IP], "ports": NAMED}),
        objects.service("http", *(port(number, f"http-{number}") for number in BOUND.values()), app="server"),
        objects.service("tcp", *(port(number + 1000, f"tcp-{number}") for number in BOUND.values()), app="server"),
        objects.service(
            "by-name", port(80, "http", "second-port"), port(81, "http-two", 8082), port(82, "port-x", "first-port"), app="server"
        ),
        objects.pod("one", replica, labels={"app": "twin"}),
        objects.pod("two", replica, labels={"app": "twin"}),
        objects.service("twins", port(80, "http", 8080), port(9000, "tcp"), app="twin"),
        objects.service("each", port(8080, "http"), port(9000, "tcp"), app="twin", clusterIP="None"),
        objects.idle("client"),
    )
    mesh.ready("server", "client")
    mesh.ready("twin", count=2)
    yield mesh
    mesh.clear()


def http(mesh: MeshNamespace, host: str, number: int, source: str = "client", **more: Any) -> dict[str, Any]:
    """What the program saw of a request that was answered."""
    answer = ask(mesh, source, "http", host, number, **more)
    assert answer.get("status") == 200, answer
    seen: dict[str, Any] = json.loads(answer["body"])
    return seen


# Prints every setting of the pod's network by which it could be led elsewhere, and its value.
SYSCTLS = """
import json, pathlib
root = pathlib.Path("/proc/sys/net")
paths = [path for name in ("accept_redirects", "accept_ra") for path in root.glob(f"ipv[46]/conf/*/{name}")]
print(json.dumps({str(path.relative_to(root)): path.read_text().strip() for path in paths}))
"""


def test_neighbours_cannot_redirect_a_pods_traffic(town: MeshNamespace) -> None:
    found = json.loads(town.exec("client", sys.executable, "-c", SYSCTLS).check().stdout)
    wanted = ("ipv4/conf/{}/accept_redirects", "ipv6/conf/{}/accept_redirects", "ipv6/conf/{}/accept_ra")
    names = {name.format(interface) for name in wanted for interface in ("all", "default", "eth0")}
    assert {name: found[name] for name in names} == dict.fromkeys(names, "0")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("address", BOUND)
def test_a_program_is_reached_whatever_address_it_listens_on(town: MeshNamespace, address: str, family: int) -> None:
    assert http(town, "http", BOUND[address], family=family)["server"] == "server"
    assert ask(town, "client", "tcp", "tcp", BOUND[address] + 1000, family=family)["said"] == ["HELLO"]


def test_the_ports_of_a_service_lead_to_named_and_to_numbered_ports_of_the_pod(town: MeshNamespace) -> None:
    script = "import os; print(os.environ['POD_IP'])"
    address = town.exec("server", sys.executable, "-c", script).stdout.strip()
    assert http(town, "by-name", 80)["local"] == "127.0.0.1"
    assert http(town, "by-name", 81)["local"] == address
    assert http(town, "by-name", 82)["server"] == "server"


def test_a_pod_calls_its_own_service(town: MeshNamespace) -> None:
    assert http(town, "http", 8080, "server")["server"] == "server"
    assert servers(town, "twins", "one") == {"one", "two"}


def test_a_pod_reaches_itself_by_its_own_address_and_by_loopback(town: MeshNamespace) -> None:
    own = town.get("pods", "one")["status"]["podIPs"]
    for address in ("127.0.0.1", "::1", *(each["ip"] for each in own)):
        assert http(town, address, 8080, "one")["server"] == "one"


def servers(mesh: MeshNamespace, host: str, source: str = "client") -> set[str]:
    """The pods that answer at port 80 of `host`, or what is answered instead: among so many requests each is met."""
    answers = ask_often(mesh, source, "http", host, 80, times=24)
    return {json.loads(each["body"])["server"] if each.get("status") == 200 else str(each) for each in answers}


def test_requests_are_spread_over_the_replicas(town: MeshNamespace) -> None:
    assert servers(town, "twins") == {"one", "two"}


def test_connections_are_spread_over_the_replicas(town: MeshNamespace) -> None:
    before = [town.log(name).count("tcp 9000") for name in ("one", "two")]
    assert all(each["said"] == ["HELLO"] for each in ask_often(town, "client", "tcp", "twins", 9000, times=24))
    after = [town.log(name).count("tcp 9000") for name in ("one", "two")]
    assert all(then < now for then, now in zip(before, after, strict=True))


def test_a_headless_service_leads_to_the_pod_whose_address_was_chosen(town: MeshNamespace) -> None:
    for name in ("one", "two"):
        for address in town.get("pods", name)["status"]["podIPs"]:
            assert http(town, address["ip"], 8080, headers={"host": "each"})["server"] == name
    assert http(town, "each", 8080)["server"] in ("one", "two")
    assert ask(town, "client", "tcp", "each", 9000)["said"] == ["HELLO"]
    records = [each for each in town.records(at_least=2, to="each") if each["destination"]["service"]]
    assert all(each["mtls"] for each in records)


def test_an_unready_pod_gets_nothing_until_it_is_ready(mesh: MeshNamespace) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/well"]}, "periodSeconds": 1, "failureThreshold": 1}
    objects.apply(
        mesh,
        objects.pod("well", server_command("http@0.0.0.0:8080"), labels={"app": "web"}),
        objects.pod("sick", server_command("http@0.0.0.0:8080"), labels={"app": "web"}, container={"readinessProbe": probe}),
        objects.service("web", port(80, "http", 8080)),
        objects.service("early", port(80, "http", 8080), app="web", publishNotReadyAddresses=True),
        objects.idle("client"),
    )
    mesh.ready("web", "client")
    until(lambda: servers(mesh, "early") == {"well", "sick"}, "the unready pod to be known")
    assert servers(mesh, "web") == {"well"}
    mesh.exec("sick", "touch", "/tmp/well").check()
    until(lambda: servers(mesh, "web") == {"well", "sick"}, "both pods to be used")
    mesh.exec("sick", "rm", "/tmp/well").check()
    until(lambda: servers(mesh, "web") == {"well"}, "the unready pod to be left out again")


def test_a_service_without_a_ready_pod_is_answered_with_503(mesh: MeshNamespace) -> None:
    objects.apply(mesh, objects.service("nobody", port(80, "http", 8080), port(81, "tcp", 8081)), objects.idle("client"))
    mesh.ready("client")
    assert ask(mesh, "client", "http", "nobody", 80)["status"] == 503
    answer = ask(mesh, "client", "tcp", "nobody", 81)
    assert answer.get("said") == [""] or "error" in answer


def test_a_port_on_which_nobody_listens_is_answered_with_503_and_recorded_with_the_reason(town: MeshNamespace) -> None:
    objects.apply(town, objects.service("idle", port(80, "http", 7777), port(81, "tcp", 7778), app="server"))
    assert ask(town, "client", "http", "idle", 80)["status"] == 503
    answer = ask(town, "client", "tcp", "idle", 81)
    assert answer.get("said") == [""] or "error" in answer
    records = town.records(at_least=4, where=lambda each: str(each["destination"]["service"]).startswith("idle."))
    inbound = {each["destination"]["port"]: each for each in records if each["reporter"] == "destination"}
    # Connections of bytes go on inside the sidecar when their caller is known: there it is a reset that is seen.
    assert {number: (each["flags"].split(",")[-1], each["decision"]["verdict"]) for number, each in inbound.items()} == {
        80: ("UF", "allow"),
        81: ("UR", "allow"),
    }
    town.delete("Service", "idle")


def test_what_annotations_exclude_goes_past_the_sidecar(mesh: MeshNamespace) -> None:
    out = {"traffic.sidecar.istio.io/excludeOutboundPorts": "8080"}
    into = {"traffic.sidecar.istio.io/excludeInboundPorts": "8080"}
    objects.apply(
        mesh,
        objects.pod("open", server_command("http@[::]:8080", "http@[::]:8081"), annotations=into),
        objects.service("open", port(8080, "http"), port(8081, "http-two")),
        objects.idle("bypass", annotations=out),
        objects.idle("outside", meshed=False),
    )
    mesh.ready("open", "bypass", "outside")
    address = mesh.get("pods", "open")["status"]["podIP"]
    # No sidecar on either way: plaintext passes although the mesh is strict, and nobody adds a request id.
    for source in ("bypass", "outside"):
        assert "x-request-id" not in http(mesh, address, 8080, source)["headers"]
    assert "error" in ask(mesh, "outside", "http", address, 8081)
    assert "x-request-id" in http(mesh, "open", 8081, "bypass")["headers"]
