"""What a value of a policy means, parsed: the form that the engine and the translation to Envoy both read, so that they agree.

Istio's syntax for texts: `abc` exactly, `abc*` by prefix, `*abc` by suffix, `*` anything but nothing; only one first or last star
is a wildcard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal, assert_never

Match = Literal["exact", "prefix", "suffix", "present", "regex"]


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A text; `text` is without its star.

    `present`: exists and is not empty (of a header: exists). `regex`: an expression (RE2) for the whole value.
    """

    match: Match
    text: str
    ignore_case: bool = False

    def matches(self, actual: str) -> bool:
        """`actual` is meant."""
        wanted, actual = (self.text.lower(), actual.lower()) if self.ignore_case else (self.text, actual)
        match self.match:
            case "exact":
                return actual == wanted
            case "prefix":
                return actual.startswith(wanted)
            case "suffix":
                return actual.endswith(wanted)
            case "present":
                return actual != ""
            case "regex":
                return _steady(wanted).fullmatch(actual) is not None
            case _:
                assert_never(self.match)


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """An address of `network`."""

    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class PortPattern:
    """The port `number`."""

    number: int


@dataclass(frozen=True, slots=True)
class RequestPrincipalPattern:
    """A verified token whose issuer and subject are both meant."""

    issuer: TextPattern
    subject: TextPattern


@dataclass(frozen=True, slots=True)
class ListPattern:
    """A list, one of whose elements is `text`."""

    text: TextPattern


Pattern = TextPattern | AddressPattern | PortPattern | RequestPrincipalPattern | ListPattern

# Any text (or any without a slash), then a text that stands for itself, then any text of the same kind again.
_BETWEEN: Final = re.compile(r"(\.\*|\[\^/\]\*)((?:[^\\.+*?()|\[\]{}^$]|\\.)*)(?=\1)")


def parse_text(value: str, *, ignore_case: bool = False) -> TextPattern:
    """The pattern that `value` writes; of `*abc*` only the first star is one, as in Istio."""
    if value == "*":
        return TextPattern("present", "")
    if value.startswith("*"):
        return TextPattern("suffix", value[1:], ignore_case)
    if value.endswith("*"):
        return TextPattern("prefix", value[:-1], ignore_case)
    return TextPattern("exact", value, ignore_case)


def quote(text: str) -> str:
    """`text` as an expression that matches it alone, in Python as in RE2, which knows fewer escapes than `re.escape` writes."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


@lru_cache(maxsize=4096)
def compiled(expression: str) -> re.Pattern[str]:
    """`expression`, ready to be asked."""
    return re.compile(expression)


@lru_cache(maxsize=4096)
def _steady(expression: str) -> re.Pattern[str]:
    """`expression` without the ways that cannot lead further, so that eight stars cost little more than one, as they do in RE2.

    What stands between two stars may be taken where it is first found: whatever follows a later place follows the first one too.
    """
    return re.compile(_BETWEEN.sub(r"(?>\1?\2)", expression))
