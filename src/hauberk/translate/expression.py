"""Expressions (CEL) that Envoy evaluates about a connection, as texts, and how they are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hauberk.kit.groups import grouped

# Envoy reads expressions of up to 100,000 characters; longer questions are asked in parts.
LONGEST: Final = 60_000

TRUE, FALSE = "true", "false"

_PLAIN: Final = "-_./:|[]"
_LIST: Final = 32  # values that are compared one after the other; of more, half are left out by one comparison


def literal(value: str) -> str:
    """A CEL string literal. Outside of letters, digits and a few marks everything is written as a code point: nothing ends it early."""
    return "'" + "".join(c if c.isascii() and (c.isalnum() or c in _PLAIN) else f"\\U{ord(c):08x}" for c in value) + "'"


def bytes_literal(value: str) -> str:
    """A CEL literal of bytes, which is what is kept with a connection; `value` is of letters, digits and a few marks."""
    if not all(c.isascii() and (c.isalnum() or c in _PLAIN) for c in value):
        raise ValueError(f"{value!r} cannot be compared with what is kept")
    return f"b'{value}'"


def kept(key: str) -> str:
    """What is kept under `key`, as bytes."""
    return f"filter_state['{key}']"


def member(subject: str, literals: Sequence[str]) -> Iterator[str]:
    """Expressions one of which is true if `subject` is one of `literals`: as many as their length demands.

    They come in the order in which CEL compares their values, and are halved, so that ten thousand cost a dozen comparisons.
    """
    for part in parts(literals):
        yield _search(subject, part)


def _search(subject: str, literals: Sequence[str]) -> str:
    if len(literals) == 1:
        return f"{subject} == {literals[0]}"
    if len(literals) <= _LIST:
        return f"{subject} in [{', '.join(literals)}]"
    middle = len(literals) // 2
    # In parentheses: as a condition of its own it would swallow what follows.
    return f"({subject} < {literals[middle]} ? ({_search(subject, literals[:middle])}) : ({_search(subject, literals[middle:])}))"


def parts(texts: Iterable[str], longest: int = LONGEST) -> Iterator[list[str]]:
    """`texts` in as many lists as their length demands."""
    # Each may get a connective, parentheses, and its share of the comparisons that lead to it.
    return grouped(texts, longest, each=10)


def not_(expression: str) -> str:
    return {TRUE: FALSE, FALSE: TRUE}.get(expression, f"!({expression})")


def any_of(expressions: Iterable[str]) -> str:
    found = [each for each in dict.fromkeys(expressions) if each != FALSE]
    if TRUE in found:
        return TRUE
    return " || ".join(f"({each})" for each in found) if len(found) > 1 else (found or [FALSE])[0]


def all_of(expressions: Iterable[str]) -> str:
    found = [each for each in dict.fromkeys(expressions) if each != TRUE]
    if FALSE in found:
        return FALSE
    return " && ".join(f"({each})" for each in found) if len(found) > 1 else (found or [TRUE])[0]


def if_(condition: str, then: str, otherwise: str) -> str:
    match condition:
        case "true":
            return then
        case "false":
            return otherwise
        case _:
            return f"{condition} ? ({then}) : ({otherwise})"


def evaluated(expression: str) -> str:
    """The text (an access log format) that `expression` gives."""
    return f"%CEL({expression})%"
