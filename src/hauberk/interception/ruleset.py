"""The rules of one pod's network namespace: every TCP connection in and out passes the pod's Envoy.

Envoy's own sockets are told apart by their marks, which only a holder of CAP_NET_ADMIN can set: a mark says more than a user
id, because a rootless mesh has only one. The rules are a value; `install.py` puts them into a namespace.
"""

from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network
from typing import Final, Literal, TypeAlias

from hauberk.interception.capture import Address, Capture, Network

OUTBOUND_PORT: Final = 15001
INBOUND_PORT: Final = 15006
OUTBOUND_MARK: Final = 1337
INBOUND_MARK: Final = 1338
NAME_PORT: Final = 53


class Chain(Enum):
    """A chain of the table, named after the direction it decides for."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    GUARD = "guard"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class NotTcp:
    """Any protocol but TCP."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The socket that sends this packet carries the mark."""

    value: int


@dataclass(frozen=True, slots=True)
class Loopback:
    """The packet leaves (or came) by the loopback device: its destination is this very pod."""

    side: Literal["in", "out"]


@dataclass(frozen=True, slots=True)
class DestinationPort:
    """TCP to that port."""

    port: int


@dataclass(frozen=True, slots=True)
class Destination:
    """The packet goes to (or, negated, not to) an address of that range."""

    network: Network
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Unredirected:
    """The connection was not redirected by one of our rules."""


@dataclass(frozen=True, slots=True)
class Unmarked:
    """The socket that sends this packet does not carry the mark."""

    value: int


@dataclass(frozen=True, slots=True)
class SourcePort:
    """TCP from that port."""

    port: int


@dataclass(frozen=True, slots=True)
class NotReset:
    """TCP that does more than end a connection: a port where nobody listens answers with a reset."""


Match: TypeAlias = NotTcp | Mark | Loopback | DestinationPort | Destination | Unredirected | Unmarked | SourcePort | NotReset


class Verdict(Enum):
    """What ends the walk through a chain."""

    ACCEPT = "accept"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Redirect:
    """Hand the connection to that port of the pod; the original destination stays readable."""

    port: int


@dataclass(frozen=True, slots=True)
class Rule:
    """If all of `matches` hold, `verdict`; `because` is kept beside the rule in the kernel."""

    chain: Chain
    matches: tuple[Match, ...]
    verdict: Verdict | Redirect
    because: str


Ruleset: TypeAlias = tuple[Rule, ...]

_LOOPBACK_RANGES: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_TO_SIDECAR_OUT: Final = Redirect(OUTBOUND_PORT)
_TO_SIDECAR_IN: Final = Redirect(INBOUND_PORT)


def build_ruleset(capture: Capture) -> Ruleset:
    """The rules, in the order in which they must stand."""
    return (*_outbound(capture), *_inbound(capture), *_guard())


def _outbound(capture: Capture) -> Ruleset:
    return (
        _out(Verdict.ACCEPT, "only TCP is captured", NotTcp()),
        _out(Verdict.ACCEPT, "Envoy delivers to the program", Mark(INBOUND_MARK)),
        # Before the next rule: a pod that calls its own service must meet its own inbound policy, as any caller would.
        *(
            _out(
                _TO_SIDECAR_IN,
                "Envoy calls its own pod: a self-call",
                Mark(OUTBOUND_MARK),
                Loopback("out"),
                Destination(network, negated=True),
            )
            for network in _LOOPBACK_RANGES
        ),
        _out(Verdict.ACCEPT, "what Envoy sends does not come back to it", Mark(OUTBOUND_MARK)),
        _out(Verdict.ACCEPT, "a program talks to itself over loopback", Loopback("out")),
        # Names are answered by the agent: were they captured, the sidecar would need names to reach the name server.
        *(
            _out(Verdict.ACCEPT, "names over TCP", Destination(_single(server)), DestinationPort(NAME_PORT))
            for server in capture.nameservers
        ),
        *(_out(Verdict.ACCEPT, "excludeOutboundPorts", DestinationPort(port)) for port in capture.excluded_outbound_ports),
        *(_out(Verdict.ACCEPT, "excludeOutboundIPRanges", Destination(network)) for network in capture.excluded_outbound_ranges),
        # A port that is named is captured whatever the address; so it stands before the ranges.
        *(_out(_TO_SIDECAR_OUT, "includeOutboundPorts", DestinationPort(port)) for port in capture.included_outbound_ports),
        *_outbound_ranges(capture.included_outbound_ranges),
    )


def _outbound_ranges(included: tuple[Network, ...] | None) -> Ruleset:
    if included is None:
        return (_out(_TO_SIDECAR_OUT, "everything else passes the sidecar"),)
    return tuple(_out(_TO_SIDECAR_OUT, "includeOutboundIPRanges", Destination(network)) for network in included)


def _inbound(capture: Capture) -> Ruleset:
    return (
        _in(Verdict.ACCEPT, "only TCP is captured", NotTcp()),
        _in(Verdict.ACCEPT, "loopback was decided on its way out", Loopback("in")),
        *(_in(Verdict.ACCEPT, "excludeInboundPorts", DestinationPort(port)) for port in capture.excluded_inbound_ports),
        *_inbound_ports(capture.included_inbound_ports),
    )


def _inbound_ports(included: tuple[int, ...] | None) -> Ruleset:
    if included is None:
        return (_in(_TO_SIDECAR_IN, "everything else passes the sidecar"),)
    return tuple(_in(_TO_SIDECAR_IN, "includeInboundPorts", DestinationPort(port)) for port in included)


def _guard() -> Ruleset:
    # A connection made straight to a capture port has that port as its original destination: Envoy would connect to itself for ever.
    straight = (
        Rule(Chain.GUARD, (DestinationPort(port), Unredirected()), Verdict.DROP, "a capture port takes redirected connections only")
        for port in (OUTBOUND_PORT, INBOUND_PORT)
    )
    # A program may bind a capture port while Envoy is dead (rootless, as the same user, even beside it): nobody will ever hear it.
    squatting = (
        Rule(Chain.ANSWERS, (SourcePort(port), NotReset(), Unmarked(OUTBOUND_MARK)), Verdict.DROP, "only Envoy answers on a capture port")
        for port in (OUTBOUND_PORT, INBOUND_PORT)
    )
    return (*straight, *squatting)


def _out(verdict: Verdict | Redirect, because: str, *matches: Match) -> Rule:
    return Rule(Chain.OUTBOUND, matches, verdict, because)


def _in(verdict: Verdict | Redirect, because: str, *matches: Match) -> Rule:
    return Rule(Chain.INBOUND, matches, verdict, because)


def _single(address: Address) -> Network:
    return ip_network(address)
