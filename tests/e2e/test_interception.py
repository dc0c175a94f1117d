"""The rules in a real network namespace: captured, original destination kept, marked sockets let through, nothing loops."""

import ctypes
import errno
import json
import os
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pyroute2 import IPRoute  # type: ignore[import-untyped]  # it ships no types

from hauberk.interception.capture import PREFIX, read_capture
from hauberk.interception.install import InterceptionRefused, install
from hauberk.interception.ruleset import (
    INBOUND_MARK,
    INBOUND_PORT,
    OUTBOUND_MARK,
    OUTBOUND_PORT,
    Chain,
    Loopback,
    Redirect,
    Rule,
    build_ruleset,
)

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SO_ORIGINAL_DST = 80
IP6T_SO_ORIGINAL_DST = 80
POD4, POD6 = "10.244.9.9", "fd00:10:244::9"
FAR4, FAR6 = "10.96.0.7", "fd00:10:96::7"


def in_pod(body: Callable[[], Any]) -> Any:
    """What `body` returns when run in a fresh network namespace with a pod's addresses, by a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _become_pod()
            answer = {"value": body()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert "error" not in answer, answer["error"]
    return answer["value"]


def _become_pod() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET | (CLONE_NEWUSER if os.getuid() else 0)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        route.link("add", ifname="eth0", kind="veth", peer={"ifname": "far"})
        (eth0,) = route.link_lookup(ifname="eth0")
        (far,) = route.link_lookup(ifname="far")
        route.link("set", index=far, state="up")
        route.addr("add", index=eth0, address=POD4, prefixlen=16)
        route.addr("add", index=eth0, address=POD6, prefixlen=64, flags=0x02)  # nodad
        route.link("set", index=eth0, state="up")
        route.route("add", dst="0.0.0.0/0", oif=eth0)
        route.route("add", family=socket.AF_INET6, dst="::/0", oif=eth0)


def capture(annotations: dict[str, str] | None = None, nameservers: tuple[str, ...] = ()) -> None:
    settings, mistakes = read_capture({PREFIX + name: value for name, value in (annotations or {}).items()}, nameservers)
    assert not mistakes
    install(build_ruleset(settings))


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(address: str, port: int) -> socket.socket:
    listener = socket.create_server((address, port), family=family(address))
    if port in (OUTBOUND_PORT, INBOUND_PORT):
        # As Envoy's: nobody else may answer there. What it accepts inherits the mark.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, OUTBOUND_MARK)
    listener.settimeout(3)
    return listener


def connect(address: str, port: int, mark: int | None = None) -> socket.socket:
    connection = socket.socket(family(address))
    connection.settimeout(0.5)
    if mark is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    connection.connect((address, port))
    return connection


def outcome(address: str, port: int, mark: int | None = None) -> str:
    """How a connection attempt ended."""
    try:
        connect(address, port, mark).close()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silence"
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]
    return "connected"


def original_destination(listener: socket.socket) -> list[Any]:
    accepted, _ = listener.accept()
    with accepted:
        if accepted.family == socket.AF_INET6:
            raw = accepted.getsockopt(socket.IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, 28)
            return [socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0]]
        raw = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return [socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack("!H", raw[2:4])[0]]


@pytest.mark.parametrize(("far", "wildcard"), [(FAR4, "0.0.0.0"), (FAR6, "::")])
def test_an_outgoing_connection_reaches_the_sidecar_with_its_original_destination(far: str, wildcard: str) -> None:
    def body() -> list[Any]:
        capture()
        sidecar = listen(wildcard, OUTBOUND_PORT)
        with connect(far, 80):
            return original_destination(sidecar)

    assert in_pod(body) == [far, 80]


@pytest.mark.parametrize("far", [FAR4, FAR6])
def test_what_the_sidecar_sends_is_not_captured_again(far: str) -> None:
    def body() -> str:
        capture()
        listeners = [listen("0.0.0.0", OUTBOUND_PORT), listen("::", INBOUND_PORT)]
        answer = outcome(far, 80, OUTBOUND_MARK)
        del listeners
        return answer

    assert in_pod(body) in {"silence", "EHOSTUNREACH", "ENETUNREACH"}


@pytest.mark.parametrize(("pod", "wildcard"), [(POD4, "0.0.0.0"), (POD6, "::")])
def test_a_call_of_the_pod_to_its_own_service_meets_its_own_inbound_side(pod: str, wildcard: str) -> None:
    def body() -> list[Any]:
        capture()
        sidecar = listen(wildcard, INBOUND_PORT)
        with connect(pod, 8080, OUTBOUND_MARK):
            return original_destination(sidecar)

    assert in_pod(body) == [pod, 8080]


@pytest.mark.parametrize("address", [POD4, POD6, "127.0.0.1", "::1"])
def test_the_sidecar_reaches_the_program_wherever_it_listens(address: str) -> None:
    def body() -> list[str]:
        capture()
        program = listen(address, 8080)
        answers = [outcome(address, 8080, INBOUND_MARK)]
        program.close()
        return answers

    assert in_pod(body) == ["connected"]


@pytest.mark.parametrize("address", [POD4, POD6, "127.0.0.1", "::1"])
def test_a_program_talks_to_itself_without_the_sidecar(address: str) -> None:
    def body() -> str:
        capture()
        program = listen(address, 8080)
        answer = outcome(address, 8080)
        program.close()
        return answer

    assert in_pod(body) == "connected"


@pytest.mark.parametrize("far", [FAR4, FAR6])
def test_nothing_leaves_while_the_sidecar_is_away(far: str) -> None:
    def body() -> str:
        capture()
        return outcome(far, 80)

    assert in_pod(body) == "refused"


@pytest.mark.parametrize(("address", "mark"), [("127.0.0.1", None), ("::1", None), (POD4, INBOUND_MARK), (POD6, INBOUND_MARK)])
@pytest.mark.parametrize("port", [OUTBOUND_PORT, INBOUND_PORT])
def test_a_capture_port_cannot_be_called_directly_so_envoy_never_calls_itself(address: str, mark: int | None, port: int) -> None:
    def body() -> str:
        capture()
        sidecar = listen("::", port) if ":" in address else listen("0.0.0.0", port)
        answer = outcome(address, port, mark)
        sidecar.close()
        return answer

    assert in_pod(body) == "silence"


@pytest.mark.parametrize(
    ("annotations", "captured", "passed"),
    [
        ({"excludeOutboundPorts": "3306, 5432"}, (FAR4, 80), (FAR4, 5432)),
        ({"excludeOutboundIPRanges": "10.97.0.0/16,fd00:10:97::/64"}, (FAR6, 80), ("fd00:10:97::1", 80)),
        ({"includeOutboundIPRanges": "10.96.0.0/16"}, (FAR4, 80), ("10.97.0.1", 80)),
        ({"includeOutboundIPRanges": "", "includeOutboundPorts": "80"}, (FAR4, 80), (FAR4, 81)),
    ],
)
def test_outgoing_exclusions_are_honoured(annotations: dict[str, str], captured: tuple[str, int], passed: tuple[str, int]) -> None:
    def body() -> list[str]:
        capture(annotations)
        return [outcome(*captured), outcome(*passed)]

    caught, let_through = in_pod(body)
    assert caught == "refused"
    assert let_through in {"silence", "EHOSTUNREACH", "ENETUNREACH"}


def test_names_over_tcp_are_not_captured() -> None:
    def body() -> list[str]:
        capture(nameservers=("10.244.0.1", "fd00:10:244::1"))
        return [outcome(address, port) for address in ("10.244.0.1", "fd00:10:244::1") for port in (53, 54)]

    answers = in_pod(body)
    assert answers[1] == answers[3] == "refused"
    assert "refused" not in (answers[0], answers[2])


def test_a_refused_transaction_leaves_the_old_rules_in_force() -> None:
    def body() -> list[str]:
        capture()
        broken = Rule(Chain.GUARD, (Loopback("in"),), Redirect(OUTBOUND_PORT), "redirecting is not possible in a filter chain")
        try:
            install((*build_ruleset(read_capture({})[0])[:2], broken))
        except InterceptionRefused as exc:
            return [str(exc), outcome(FAR4, 80)]
        return ["accepted"]

    message, still = in_pod(body)
    assert "redirecting is not possible" in message
    assert still == "refused"


def test_installing_again_replaces_the_rules_and_keeps_open_connections() -> None:
    def body() -> list[Any]:
        capture()
        sidecar = listen("0.0.0.0", OUTBOUND_PORT)
        with connect(FAR4, 80) as program:
            accepted, _ = sidecar.accept()
            capture()
            capture({"excludeOutboundPorts": "443"})
            program.send(b"still here")
            return [accepted.recv(20).decode(), outcome(FAR4, 443)]

    text, excluded = in_pod(body)
    assert text == "still here"
    assert excluded != "refused"


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
