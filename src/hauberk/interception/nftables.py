"""A ruleset as one nf_tables transaction: the bytes of a netlink batch that the kernel takes whole or not at all.

Written out here because pyroute2 makes each command a transaction of its own: between two of them a pod would be half captured.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network
from typing import Final, assert_never

from hauberk.interception.ruleset import (
    Chain,
    Destination,
    DestinationPort,
    Loopback,
    Mark,
    Match,
    NotReset,
    NotTcp,
    Redirect,
    Rule,
    Ruleset,
    SourcePort,
    Unmarked,
    Unredirected,
    Verdict,
)

TABLE: Final = "hauberk"

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_NESTED = 0x8000
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFTABLES = 10
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 2, 3, 6
_FAMILY_INET = 1
_REGISTER = 1
_REGISTER_VERDICT = 0
_META_MARK, _META_IIF, _META_OIF, _META_NFPROTO, _META_L4PROTO = 3, 4, 5, 15, 16
_PAYLOAD_NETWORK, _PAYLOAD_TRANSPORT = 1, 2
_EQUAL, _NOT_EQUAL = 0, 1
_CT_STATUS = 2
_STATUS_DST_NAT = 1 << 5
_TCP = b"\x06"
_RESET = b"\x04"  # among the flags of a TCP header
_LOOPBACK_INDEX = struct.pack("=I", 1)  # the loopback device is the first of every network namespace
_VERDICTS: Final = {Verdict.DROP: 0, Verdict.ACCEPT: 1}
# type, hook (linux/netfilter.h), priority; the guard stands after destination NAT, so that it sees what was redirected.
_CHAINS: Final = {
    Chain.OUTBOUND: (b"nat", 3, -100),
    Chain.INBOUND: (b"nat", 0, -100),
    Chain.GUARD: (b"filter", 1, 0),
    Chain.ANSWERS: (b"filter", 3, 0),
}


@lru_cache(maxsize=256)
def encode_transaction(ruleset: Ruleset) -> tuple[bytes, ...]:
    """The messages of the batch; joined and sent in one datagram they replace the table, whatever it held before."""
    bodies = (
        # Create-delete-create: deleting alone fails where there is no table yet.
        _message(_NEWTABLE, _CREATE, _text(1, TABLE)),
        _message(_DELTABLE, 0, _text(1, TABLE)),
        _message(_NEWTABLE, _CREATE, _text(1, TABLE)),
        *(_message(_NEWCHAIN, _CREATE, _chain(chain)) for chain in Chain),
        *(_message(_NEWRULE, _CREATE | _APPEND, _rule(rule)) for rule in ruleset),
    )
    messages = (_edge(_BATCH_BEGIN), *bodies, _edge(_BATCH_END))
    return tuple(_numbered(number, message) for number, message in enumerate(messages, start=1))


def describe_step(ruleset: Ruleset, sequence: int) -> str:
    """Which part of the transaction the message of that sequence number is: for the error that names it."""
    index = sequence - 5 - len(Chain)
    return f"rule {ruleset[index]}" if 0 <= index < len(ruleset) else f"table or chain (message {sequence})"


def _chain(chain: Chain) -> bytes:
    kind, hook, priority = _CHAINS[chain]
    return b"".join(
        (
            _text(1, TABLE),
            _text(3, chain.value),
            _nest(4, _attribute(1, struct.pack("!I", hook)), _attribute(2, struct.pack("!i", priority))),
            _attribute(5, struct.pack("!I", _VERDICTS[Verdict.ACCEPT])),
            _attribute(7, kind + b"\0"),
        )
    )


def _rule(rule: Rule) -> bytes:
    expressions = [expression for match in rule.matches for expression in _match(match)]
    comment = rule.because.encode()[:120] + b"\0"
    return b"".join(
        (
            _text(1, TABLE),
            _text(2, rule.chain.value),
            _nest(4, *(_nest(1, expression) for expression in (*expressions, *_verdict(rule)))),
            _attribute(7, struct.pack("BB", 0, len(comment)) + comment),
        )
    )


def _match(match: Match) -> Iterable[bytes]:  # noqa: PLR0911 -- one for each kind of match
    match match:
        case NotTcp():
            return (_meta(_META_L4PROTO), _compare(_TCP, _NOT_EQUAL))
        case Mark(value):
            return (_meta(_META_MARK), _compare(struct.pack("=I", value)))
        case Loopback(side):
            return (_meta(_META_IIF if side == "in" else _META_OIF), _compare(_LOOPBACK_INDEX))
        case DestinationPort(port):
            return (_meta(_META_L4PROTO), _compare(_TCP), _payload(_PAYLOAD_TRANSPORT, 2, 2), _compare(struct.pack("!H", port)))
        case Destination():
            return _destination(match)
        case SourcePort(port):
            return (_meta(_META_L4PROTO), _compare(_TCP), _payload(_PAYLOAD_TRANSPORT, 0, 2), _compare(struct.pack("!H", port)))
        case NotReset():
            return (_meta(_META_L4PROTO), _compare(_TCP), _payload(_PAYLOAD_TRANSPORT, 13, 1), _bitwise(_RESET), _compare(b"\0"))
        case Unmarked(value):
            return (_meta(_META_MARK), _compare(struct.pack("=I", value), _NOT_EQUAL))
        case Unredirected():
            status = struct.pack("=I", _STATUS_DST_NAT)
            return (_expression("ct", _number(1, _REGISTER), _number(2, _CT_STATUS)), _bitwise(status), _compare(bytes(4)))
        case _:
            assert_never(match)


def _destination(match: Destination) -> Iterable[bytes]:
    network = match.network
    is_ipv4 = isinstance(network, IPv4Network)
    protocol, offset, length = (2, 16, 4) if is_ipv4 else (10, 24, 16)
    return (
        _meta(_META_NFPROTO),
        _compare(bytes((protocol,))),
        _payload(_PAYLOAD_NETWORK, offset, length),
        _bitwise(network.netmask.packed),
        _compare(network.network_address.packed, _NOT_EQUAL if match.negated else _EQUAL),
    )


def _verdict(rule: Rule) -> Iterable[bytes]:
    match rule.verdict:
        case Redirect(port):
            # A port exists in TCP only, so the protocol is asked for even where no other match did.
            tcp = (_meta(_META_L4PROTO), _compare(_TCP))
            load = _expression("immediate", _number(1, _REGISTER), _nest(2, _attribute(1, struct.pack("!H", port))))
            return (*tcp, load, _expression("redir", _number(1, _REGISTER)))
        case Verdict() as verdict:
            code = _nest(2, _nest(2, _number(1, _VERDICTS[verdict])))
            return (_expression("immediate", _number(1, _REGISTER_VERDICT), code),)
        case _:
            assert_never(rule.verdict)


def _meta(key: int) -> bytes:
    return _expression("meta", _number(2, key), _number(1, _REGISTER))


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _number(1, _REGISTER), _number(2, base), _number(3, offset), _number(4, length))


def _bitwise(mask: bytes) -> bytes:
    values = (_nest(4, _attribute(1, mask)), _nest(5, _attribute(1, bytes(len(mask)))))
    return _expression("bitwise", _number(1, _REGISTER), _number(2, _REGISTER), _number(3, len(mask)), *values)


def _compare(value: bytes, operator: int = _EQUAL) -> bytes:
    return _expression("cmp", _number(1, _REGISTER), _number(2, operator), _nest(3, _attribute(1, value)))


def _expression(name: str, *attributes: bytes) -> bytes:
    return _text(1, name) + _nest(2, *attributes)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    header = struct.pack("=IHHII", 20 + len(body), _NFTABLES << 8 | kind, _REQUEST | _ACK | flags, 0, 0)
    return header + struct.pack("!BBH", _FAMILY_INET, 0, 0) + body


def _edge(kind: int) -> bytes:
    return struct.pack("=IHHII", 20, kind, _REQUEST, 0, 0) + struct.pack("!BBH", 0, 0, _NFTABLES)


def _numbered(sequence: int, message: bytes) -> bytes:
    return message[:8] + struct.pack("=I", sequence) + message[12:]


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nest(kind: int, *attributes: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(attributes))


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")
