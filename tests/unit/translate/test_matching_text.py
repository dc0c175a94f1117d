from __future__ import annotations

import re

import pytest

from hauberk.policy.attribute import Kind
from hauberk.policy.pattern import TextPattern
from hauberk.translate.matching_text import parts_of, plain_text, text_expression, without_query


def matches(kind: Kind, pattern: TextPattern, text: str) -> bool:
    return re.fullmatch(text_expression(kind, pattern).replace(r"\C", r"[\s\S]"), text) is not None


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (TextPattern("exact", "/a"), ["/a", "/a?b", "/a?", "/a#x"], ["/a/", "/ab", "/A", "/x?/a"]),
        (TextPattern("prefix", "/a"), ["/a", "/ab?c"], ["/b", "/b?/a"]),
        (TextPattern("suffix", ".png"), ["/x.png", "/x.png?y"], ["/x?y.png", "/x.pngs"]),
        (TextPattern("present", ""), ["/", "/?x"], ["?x", ""]),
        (TextPattern("regex", "/u/[^/]+/o"), ["/u/1/o", "/u/1/o?x"], ["/u/1?x=/o", "/u/1/2/o"]),
        (TextPattern("regex", "/v/.*"), ["/v/", "/v/a/b?c"], ["/v"]),
        (TextPattern("exact", "/a?b"), [], ["/a?b", "/a"]),
    ],
)
def test_a_query_is_no_part_of_a_path(pattern: TextPattern, yes: list[str], no: list[str]) -> None:
    assert [text for text in (*yes, *no) if matches(Kind.PATH, pattern, text)] == yes


def test_a_header_is_present_when_it_is_empty_and_nothing_else_is() -> None:
    present = TextPattern("present", "")
    assert matches(Kind.HEADER, present, "")
    assert not matches(Kind.METHOD, present, "")


def test_a_caller_is_present_by_an_identity_and_not_by_a_dash() -> None:
    present = TextPattern("present", "")
    assert matches(Kind.IDENTITY, present, "spiffe://td/x")
    assert not matches(Kind.IDENTITY, present, "-")


def test_characters_of_expressions_stand_for_themselves() -> None:
    assert matches(Kind.METHOD, TextPattern("exact", "a.b*(c)"), "a.b*(c)")
    assert not matches(Kind.METHOD, TextPattern("exact", "a.b"), "axb")


def test_wildcards_are_kept_inside_the_path_and_classes_as_they_are() -> None:
    assert without_query(r"/a\.b/.*/[^/]+/[.x]") == r"/a\.b/[^?#]*/[^/?#]+/[.x]"


def test_an_expression_is_used_only_where_plain_text_cannot_say_it() -> None:
    assert plain_text(Kind.METHOD, TextPattern("exact", "GET")) is not None
    assert plain_text(Kind.PATH, TextPattern("prefix", "/a")) is not None
    assert plain_text(Kind.PATH, TextPattern("exact", "/a")) is None
    assert plain_text(Kind.PATH, TextPattern("prefix", "/a?")) is None
    assert plain_text(Kind.HOST, TextPattern("exact", "a", ignore_case=True)) is None


def test_many_values_are_asked_in_several_expressions() -> None:
    parts = list(parts_of(["x" * 5000] * 7))
    assert [len(part) for part in parts] == [3, 3, 1]
