"""Istio's value syntax."""

import re

from hypothesis import given
from hypothesis import strategies as st

from hauberk.policy.pattern import TextPattern, parse_text, quote

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)


def matches(value: str, actual: str) -> bool:
    return parse_text(value).matches(actual)


def test_a_value_without_a_star_is_exact_and_minds_case() -> None:
    assert matches("GET", "GET")
    assert not matches("GET", "get")
    assert not matches("GET", "GETS")


def test_a_last_star_is_a_prefix_and_a_first_one_a_suffix() -> None:
    assert matches("/api/*", "/api/")
    assert not matches("/api/*", "/api")
    assert matches("*.js", "/x.js")
    assert not matches("*.js", "/x.jsx")


def test_a_lone_star_is_anything_but_nothing() -> None:
    assert matches("*", "x")
    assert not matches("*", "")


def test_a_star_inside_stands_for_itself() -> None:
    assert matches("a*b", "a*b")
    assert not matches("a*b", "axb")
    assert matches("*a*", "xa*")
    assert not matches("*a*", "xax")


def test_case_is_ignored_where_asked() -> None:
    assert parse_text("Web.*", ignore_case=True).matches("WEB.shop")


@given(TEXT, TEXT)
def test_a_value_means_what_the_regular_expression_says(value: str, actual: str) -> None:
    if value == "*":
        expression = ".+"
    elif value.startswith("*"):
        expression = ".*" + re.escape(value[1:])
    elif value.endswith("*"):
        expression = re.escape(value[:-1]) + ".*"
    else:
        expression = re.escape(value)
    assert matches(value, actual) == (re.fullmatch(expression, actual) is not None)


@given(TEXT, TEXT)
def test_a_quoted_text_matches_itself_alone(text: str, other: str) -> None:
    assert re.fullmatch(quote(text), text)
    assert (re.fullmatch(quote(text), other) is not None) == (text == other)


@given(st.text("ab.*", max_size=8), st.text("ab.*\n", max_size=12))
def test_an_expression_with_many_stars_means_what_it_says(stars: str, actual: str) -> None:
    expression = ".*".join(map(quote, stars.split("*")))
    assert TextPattern("regex", expression).matches(actual) == (re.fullmatch(expression, actual) is not None)


def test_stars_are_not_tried_in_every_combination() -> None:
    # Eight of them have more ways over so long a text than could be gone.
    assert not TextPattern("regex", f"{'.*a' * 8}.*b").matches("a" * 2048)
    assert TextPattern("regex", f"{'.*a' * 8}.*b").matches("a" * 2048 + "b")
