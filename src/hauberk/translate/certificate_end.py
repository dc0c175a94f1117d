"""Connections of bytes that end about when their caller's certificate does.

Envoy looks at a certificate in the handshake and never again, and a proxy ends all its connections at the same age. So there are a few
ages, each four times the one before, each with a chain of the second listener; a connection gets the first that is not shorter than what
its caller's certificate had left in the handshake. It is never ended too early, and too late by no more than three times what was left.
More of them would be more exact, and cost every sidecar memory for chains that are hardly ever taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from google.protobuf import wrappers_pb2
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2

from hauberk.envoy.message import any_
from hauberk.translate.connection_state import State, state

Matcher = matcher_pb2.Matcher
TypedExtensionConfig = extension_pb2.TypedExtensionConfig

AGE_STATE: Final = "hauberk.age"

_SHORTEST: Final = timedelta(seconds=15)
_MOST_DAYS: Final = 10  # a number that is kept has 16 bits; this many days are 57,600 times the shortest age
_UNIT: Final = int(_SHORTEST.total_seconds())
_STEP: Final = 4

# CEL reads one kind of number in what is kept with a connection: the port of an address.
_ADDRESS_STATE: Final = "envoy.network.transport_socket.original_dst_address"
_LEFT: Final = "left"
_PARTS: Final = {"day": "%y%j", "minute": "%H%M", "second": "%S"}


def ages(longest: timedelta) -> dict[str, timedelta]:
    """The ages below `longest`, the shortest first, by their names."""
    found: dict[str, timedelta] = {}
    age = _SHORTEST
    while age < longest:
        found[f"{age.total_seconds():.0f}s"] = age
        age *= _STEP
    return found


def times_of_caller(longest: timedelta) -> Iterator[State]:
    """What is to be kept when a handshake is done, so that the second listener can give the connection an age."""
    if ages(longest):
        for moment, time in (("end", "DOWNSTREAM_PEER_CERT_V_END"), ("now", "START_TIME")):
            for part, text in _PARTS.items():
                yield _number(f"{moment}-{part}", f"%{time}({text})%", upstream=True)


def age_of_caller(longest: timedelta) -> Iterator[State]:
    """What the second listener finds out of these; without an age a connection gets the `longest`.

    There it is one expression for the whole sidecar: one for each chain of each port would be a tenth of a megabyte each.
    """
    names = list(ages(longest))
    if not names:
        return
    days = f"({_day('end')} - ({_day('now')}))"
    seconds = f"{days} * 86400 + {_second('end')} - ({_second('now')})"
    yield _number(_LEFT, f"%CEL({days} > {_MOST_DAYS} ? 65535 : ({seconds}) / {_UNIT})%")
    chosen = " : ".join(f"{_read(_LEFT)} < {_STEP**step} ? '{name}'" for step, name in enumerate(names))
    yield state(AGE_STATE, f"%CEL({chosen} : '')%")


def by_age(longest: timedelta, otherwise: str) -> Matcher.OnMatch:
    """Which chain a connection takes: that of its age, which has its name; or `otherwise`."""
    if not ages(longest):
        return _chain(otherwise)
    key = network_inputs_pb2.FilterStateInput(key=AGE_STATE)
    table = Matcher.MatcherTree.MatchMap(map={name: _chain(name) for name in ages(longest)})
    tree = Matcher.MatcherTree(input=TypedExtensionConfig(name="age", typed_config=any_(key)), exact_match_map=table)
    return Matcher.OnMatch(matcher=Matcher(matcher_tree=tree, on_no_match=_chain(otherwise)))


def _chain(name: str) -> Matcher.OnMatch:
    return Matcher.OnMatch(action=TypedExtensionConfig(name="chain", typed_config=any_(wrappers_pb2.StringValue(value=name))))


def _number(key: str, text: str, *, upstream: bool = False) -> State:
    # An address can be hashed. What cannot be would not be told apart: a connection would get what was kept of one before it.
    return state(f"hauberk.{key}", f"0.0.0.0:{text}", factory=_ADDRESS_STATE, upstream=upstream)


def _read(key: str) -> str:
    return f"filter_state['hauberk.{key}'].port"


def _day(moment: str) -> str:
    """Days since the beginning of the century; what is kept is 1000 times the year, plus the day of the year from 1."""
    kept = _read(f"{moment}-day")
    return f"{kept} - {kept} / 1000 * 635 + ({kept} / 1000 + 3) / 4"


def _second(moment: str) -> str:
    """Seconds since midnight; what is kept is 100 times the hour, plus the minute."""
    kept = _read(f"{moment}-minute")
    return f"({kept} - {kept} / 100 * 40) * 60 + {_read(f'{moment}-second')}"
