"""Connections of bytes that end about when their caller's certificate does.

Envoy looks at a certificate in the handshake and never again, and a proxy ends all its connections at the same age. So there are a few
ages, each at most four times the one before, each with a chain of the second listener; a connection gets the first that is longer than
what its caller's certificate had left in the handshake. It is never ended too early, and too late by no more than three times what was
left. More of them would be more exact, and cost every sidecar memory for chains that are hardly ever taken; so would longer
expressions: a sidecar needs some 400 bytes for each name, number and sign of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from google.protobuf import wrappers_pb2
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2, string_pb2

from hauberk.envoy.message import any_
from hauberk.translate.connection_state import State, state

Matcher = matcher_pb2.Matcher
TypedExtensionConfig = extension_pb2.TypedExtensionConfig
_FieldMatcher = Matcher.MatcherList.FieldMatcher
_Predicate = Matcher.MatcherList.Predicate

# How many times the shortest age a certificate had left, above `_ZERO`: so that all have five digits, and their first digits tell
# how large they are. A number that is kept has 16 bits; what has more is not kept, and is longer than every age.
LEFT_STATE: Final = "hauberk.left"
_ZERO: Final = 10_000

_SHORTEST: Final = timedelta(seconds=15)
_UNIT: Final = int(_SHORTEST.total_seconds())
# The ages in this unit, as a digit and how many zeros follow.
_STEPS: Final = tuple((digit, zeros) for zeros in range(5) for digit in (1, 4))

# CEL reads one kind of number in what is kept with a connection: the port of an address.
_NOWHERE: Final = "0.0.0.0"  # noqa: S104 - nothing is bound here
_ADDRESS_STATE: Final = "envoy.network.transport_socket.original_dst_address"
_PARTS: Final = {"year": "%y", "day": "%j", "hour": "%H", "minute": "%M", "second": "%S"}
_MOMENTS: Final = {"end": "DOWNSTREAM_PEER_CERT_V_END", "now": "START_TIME"}


def ages(longest: timedelta) -> dict[str, timedelta]:
    """The ages below `longest`, the shortest first, by their names."""
    found = (_SHORTEST * digit * 10**zeros for digit, zeros in _STEPS)
    return {f"{age.total_seconds():.0f}s": age for age in found if age < longest}


def times_of_caller(longest: timedelta) -> Iterator[State]:
    """What is to be kept when a handshake is done, so that the second listener can give the connection an age."""
    if ages(longest):
        for moment, time in _MOMENTS.items():
            for part, text in _PARTS.items():
                yield _number(f"hauberk.{moment}-{part}", f"%{time}({text})%", upstream=True)


def age_of_caller(longest: timedelta) -> Iterator[State]:
    """What the second listener finds out of these; without it a connection gets the `longest` age.

    There it is one expression for the whole sidecar, and not one for each chain of each port.
    """
    if ages(longest):
        days = f"{_new_year('end')} - {_new_year('now')} + {_since('day')}"
        seconds = f"((({days}) * 24 + {_since('hour')}) * 60 + {_since('minute')}) * 60 + {_since('second')}"
        yield _number(LEFT_STATE, f"%CEL(({seconds}) / {_UNIT} + {_ZERO})%")


def by_age(longest: timedelta, otherwise: str) -> Matcher.OnMatch:
    """Which chain a connection takes: that of its age, which has its name; or `otherwise`."""
    named = zip(ages(longest), _STEPS, strict=False)
    shorter = [_FieldMatcher(predicate=_below(*step), on_match=_chain(name)) for name, step in named]
    if not shorter:
        return _chain(otherwise)
    return Matcher.OnMatch(matcher=Matcher(matcher_list=Matcher.MatcherList(matchers=shorter), on_no_match=_chain(otherwise)))


def _below(digit: int, zeros: int) -> _Predicate:
    """Less than `digit` with so many `zeros` is left: these are the beginnings of such numbers."""
    left = TypedExtensionConfig(name="left", typed_config=any_(network_inputs_pb2.FilterStateInput(key=LEFT_STATE)))
    beginnings = (str(_ZERO + first * 10**zeros).removesuffix("0" * zeros) for first in range(digit))
    texts = (string_pb2.StringMatcher(prefix=f"{_NOWHERE}:{beginning}") for beginning in beginnings)
    predicates = [_Predicate(single_predicate=_Predicate.SinglePredicate(input=left, value_match=text)) for text in texts]
    return predicates[0] if len(predicates) == 1 else _Predicate(or_matcher=_Predicate.PredicateList(predicate=predicates))


def _chain(name: str) -> Matcher.OnMatch:
    return Matcher.OnMatch(action=TypedExtensionConfig(name="chain", typed_config=any_(wrappers_pb2.StringValue(value=name))))


def _number(key: str, text: str, *, upstream: bool = False) -> State:
    # An address can be hashed. What cannot be would not be told apart: a connection would get what was kept of one before it.
    return state(key, f"{_NOWHERE}:{text}", factory=_ADDRESS_STATE, upstream=upstream)


def _read(moment: str, part: str) -> str:
    return f"filter_state['hauberk.{moment}-{part}'].port"


def _since(part: str) -> str:
    return f"{_read('end', part)} - {_read('now', part)}"


def _new_year(moment: str) -> str:
    """Days from the beginning of the century to that of the year; every fourth year is one of 366 days, the first of them too."""
    return f"({_read(moment, 'year')} * 1461 + 3) / 4"
