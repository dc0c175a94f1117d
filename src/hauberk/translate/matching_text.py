"""Texts of policies as Envoy matches them: plainly where it can, by expressions (RE2) otherwise.

Expressions are compiled for bytes; that they say `\\C` where any byte may stand, and not a dot, makes them mean it in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from xds.type.matcher.v3 import regex_pb2, string_pb2

from hauberk.kit.groups import grouped
from hauberk.policy.attribute import Kind
from hauberk.policy.host import host_expression
from hauberk.policy.pattern import TextPattern, quote

Text = string_pb2.StringMatcher

# Envoy bounds expressions by what they are compiled to, at most one step for each byte: many values are asked in several.
_LONGEST: Final = 16_000  # bytes
# What may follow a path: a query may hold any byte.
_QUERY: Final = r"(?:[?#]\C*)?"


def expression(regex: str) -> Text:
    """All of a text matches `regex` (RE2)."""
    return Text(safe_regex=regex_pb2.RegexMatcher(google_re2=regex_pb2.RegexMatcher.GoogleRE2(), regex=regex))


def plain_text(kind: Kind, pattern: TextPattern) -> Text | None:
    """`pattern` without an expression, which costs more."""
    text, ignore_case = pattern.text, pattern.ignore_case
    if kind is Kind.HOST or not text or (kind is Kind.PATH and (pattern.match != "prefix" or has_query(text))):
        return None
    match pattern.match:
        case "exact":
            return Text(exact=text, ignore_case=ignore_case)
        case "prefix":
            return Text(prefix=text, ignore_case=ignore_case)
        case "suffix":
            return Text(suffix=text, ignore_case=ignore_case)
        case _:
            return None


def text_expression(kind: Kind, pattern: TextPattern) -> str:
    """`pattern` as an expression for all of the input."""
    if kind is Kind.HOST:
        return f"(?:{host_expression(pattern)})"
    if kind is Kind.PATH:
        return _path_expression(pattern)
    text = quote(pattern.text)
    match pattern.match:
        case "exact":
            found = text
        case "prefix":
            found = rf"{text}\C*"
        case "suffix":
            found = rf"\C*{text}"
        case "present":
            # Of a header it is enough that it is there.
            found = r"\C*" if kind is Kind.HEADER else "spiffe://.*" if kind is Kind.IDENTITY else r"\C+"
        case "regex":
            found = pattern.text
        case other:
            assert_never(other)
    return f"(?{'i' if pattern.ignore_case else ''}:{found})"


def _path_expression(pattern: TextPattern) -> str:
    """About the path without query and fragment, which Envoy's `:path` has; neither can be part of a value that matches."""
    if has_query(pattern.text) and pattern.match != "regex":
        return r"\b\B"  # nothing is both
    text = quote(pattern.text)
    match pattern.match:
        case "exact":
            return f"{text}{_QUERY}"
        case "prefix":
            return rf"{text}\C*"
        case "suffix":
            return f"[^?#]*{text}{_QUERY}"
        case "present":
            return r"[^?#]\C*"
        case "regex":
            return f"(?:{without_query(pattern.text)}){_QUERY}"
        case other:
            assert_never(other)


def without_query(regex: str) -> str:
    """`regex`, in which no wildcard goes beyond the path."""
    out: list[str] = []
    rest = iter(regex)
    in_class = False
    for character in rest:
        if character == "\\":
            out.append(character + next(rest, ""))
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        out.append("[^?#]" if character == "." and not in_class else character)
    return "".join(out).replace("[^/]", "[^/?#]")


def has_query(text: str) -> bool:
    return "?" in text or "#" in text


def parts_of(expressions: Iterable[str]) -> Iterator[list[str]]:
    """`expressions` in groups that are short enough for one."""
    return grouped(expressions, _LONGEST, each=1)
