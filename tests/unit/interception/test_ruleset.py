"""Which packet of a pod goes where, decided by walking the rules as the kernel does."""

from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from hauberk.interception.capture import PREFIX, Capture, read_capture
from hauberk.interception.ruleset import (
    INBOUND_MARK,
    INBOUND_PORT,
    OUTBOUND_MARK,
    OUTBOUND_PORT,
    Chain,
    Destination,
    DestinationPort,
    Loopback,
    Mark,
    Match,
    NotReset,
    NotTcp,
    Redirect,
    Ruleset,
    SourcePort,
    Unmarked,
    Unredirected,
    Verdict,
    build_ruleset,
)

POD = "10.244.0.9"
FAR = "10.96.0.7"


@dataclass(frozen=True, kw_only=True)
class Packet:
    """The first packet of a connection."""

    to: str = FAR
    port: int = 80
    mark: int = 0
    loopback: bool = False
    tcp: bool = True
    redirected: bool = False
    source: int = 40000
    reset: bool = False


def walk(ruleset: Ruleset, chain: Chain, packet: Packet) -> Verdict | Redirect:
    for rule in ruleset:
        if rule.chain is chain and all(holds(match, packet) for match in rule.matches):
            return rule.verdict
    return Verdict.ACCEPT


def holds(match: Match, packet: Packet) -> bool:
    match match:
        case NotTcp():
            return not packet.tcp
        case Mark(value):
            return packet.mark == value
        case Loopback():
            return packet.loopback
        case DestinationPort(port):
            return packet.tcp and packet.port == port
        case Destination(network, negated):
            address = ip_address(packet.to)
            return address.version == network.version and (address in network) != negated
        case Unredirected():
            return not packet.redirected
        case Unmarked(value):
            return packet.mark != value
        case SourcePort(port):
            return packet.tcp and packet.source == port
        case NotReset():
            return packet.tcp and not packet.reset


def out(packet: Packet, capture: Capture | None = None) -> Verdict | Redirect:
    return walk(build_ruleset(capture or Capture()), Chain.OUTBOUND, packet)


def into(packet: Packet, capture: Capture | None = None) -> Verdict | Redirect:
    return walk(build_ruleset(capture or Capture()), Chain.INBOUND, packet)


def annotated(**annotations: str) -> Capture:
    capture, mistakes = read_capture({PREFIX + name: value for name, value in annotations.items()})
    assert not mistakes
    return capture


@pytest.mark.parametrize("to", [FAR, "fd00:10:96::7", "192.0.2.1", "2001:db8::1"])
def test_a_programs_connection_to_anywhere_passes_the_sidecar(to: str) -> None:
    assert out(Packet(to=to)) == Redirect(OUTBOUND_PORT)


def test_a_connection_from_anywhere_passes_the_sidecar() -> None:
    assert into(Packet(to=POD, port=8080)) == Redirect(INBOUND_PORT)


def test_datagrams_are_left_alone() -> None:
    assert out(Packet(tcp=False)) is into(Packet(tcp=False)) is Verdict.ACCEPT


def test_the_sidecars_own_connections_leave_the_pod() -> None:
    assert out(Packet(mark=OUTBOUND_MARK)) is Verdict.ACCEPT


@pytest.mark.parametrize("to", [POD, "127.0.0.1", "::1"])
def test_the_sidecar_delivers_to_the_program_wherever_it_listens(to: str) -> None:
    assert out(Packet(to=to, mark=INBOUND_MARK, loopback=True)) is Verdict.ACCEPT


@pytest.mark.parametrize("to", [POD, "fd00:10:244::9"])
def test_a_self_call_meets_the_pods_own_inbound_side(to: str) -> None:
    assert out(Packet(to=to, mark=OUTBOUND_MARK, loopback=True)) == Redirect(INBOUND_PORT)


@pytest.mark.parametrize("to", ["127.0.0.1", "127.1.2.3", "::1", POD])
def test_a_program_talks_to_itself_directly(to: str) -> None:
    assert out(Packet(to=to, loopback=True)) is Verdict.ACCEPT


def test_names_over_tcp_are_asked_directly_and_only_names() -> None:
    capture, _ = read_capture({}, ("10.244.0.1",))
    assert out(Packet(to="10.244.0.1", port=53), capture) is Verdict.ACCEPT
    assert out(Packet(to="10.244.0.1", port=54), capture) == Redirect(OUTBOUND_PORT)


@pytest.mark.parametrize("port", [OUTBOUND_PORT, INBOUND_PORT])
def test_a_capture_port_takes_only_what_was_redirected(port: int) -> None:
    ruleset = build_ruleset(Capture())
    assert walk(ruleset, Chain.GUARD, Packet(to=POD, port=port)) is Verdict.DROP
    assert walk(ruleset, Chain.GUARD, Packet(to=POD, port=port, redirected=True)) is Verdict.ACCEPT
    assert walk(ruleset, Chain.GUARD, Packet(to=POD, port=8080)) is Verdict.ACCEPT


def test_excluded_inbound_ports_reach_the_program_directly() -> None:
    capture = annotated(excludeInboundPorts="9090, 9091")
    assert into(Packet(port=9091), capture) is Verdict.ACCEPT
    assert into(Packet(port=80), capture) == Redirect(INBOUND_PORT)


def test_only_included_inbound_ports_are_captured() -> None:
    capture = annotated(includeInboundPorts="80")
    assert into(Packet(port=80), capture) == Redirect(INBOUND_PORT)
    assert into(Packet(port=81), capture) is Verdict.ACCEPT


def test_an_empty_list_of_inbound_ports_captures_none() -> None:
    assert into(Packet(port=80), annotated(includeInboundPorts="")) is Verdict.ACCEPT


def test_excluded_outbound_ports_and_ranges_leave_directly() -> None:
    capture = annotated(excludeOutboundPorts="3306", excludeOutboundIPRanges="10.97.0.0/16,fd00:97::/32")
    assert out(Packet(port=3306), capture) is Verdict.ACCEPT
    assert out(Packet(to="10.97.1.1"), capture) is Verdict.ACCEPT
    assert out(Packet(to="fd00:97::1"), capture) is Verdict.ACCEPT
    assert out(Packet(), capture) == Redirect(OUTBOUND_PORT)


def test_a_named_outbound_port_is_captured_whatever_the_address() -> None:
    capture = annotated(includeOutboundIPRanges="10.96.0.0/16", includeOutboundPorts="443")
    assert out(Packet(to="192.0.2.1", port=443), capture) == Redirect(OUTBOUND_PORT)
    assert out(Packet(to="192.0.2.1", port=80), capture) is Verdict.ACCEPT
    assert out(Packet(to=FAR, port=80), capture) == Redirect(OUTBOUND_PORT)


def test_exclusion_wins_over_inclusion() -> None:
    capture = annotated(excludeOutboundPorts="443", includeOutboundPorts="443")
    assert out(Packet(port=443), capture) is Verdict.ACCEPT


@pytest.mark.parametrize(
    ("name", "value"), [("includeInboundPorts", "http"), ("excludeInboundPorts", "0"), ("excludeOutboundIPRanges", "10.0.0.0/33")]
)
def test_what_is_not_understood_is_named_and_captures_more_never_less(name: str, value: str) -> None:
    capture, mistakes = read_capture({PREFIX + name: value})
    assert capture == Capture()
    assert [mistake.annotation for mistake in mistakes] == [PREFIX + name]
    assert value in mistakes[0].message


def test_every_rule_says_why() -> None:
    assert all(rule.because for rule in build_ruleset(Capture()))


@pytest.mark.parametrize("port", [OUTBOUND_PORT, INBOUND_PORT])
def test_on_a_capture_port_only_envoy_answers_and_anybody_may_refuse(port: int) -> None:
    ruleset = build_ruleset(Capture())
    assert walk(ruleset, Chain.ANSWERS, Packet(source=port)) is Verdict.DROP
    assert walk(ruleset, Chain.ANSWERS, Packet(source=port, reset=True)) is Verdict.ACCEPT
    assert walk(ruleset, Chain.ANSWERS, Packet(source=port, mark=OUTBOUND_MARK)) is Verdict.ACCEPT
    assert walk(ruleset, Chain.ANSWERS, Packet(source=8080)) is Verdict.ACCEPT
