"""Istio's value syntax, and how callers' identities are matched."""

import re

from hypothesis import given
from hypothesis import strategies as st

from hauberk.policy.value import namespace_pattern, parse_pattern, principal_pattern, quote, service_account_pattern

FRONTEND = "spiffe://cluster.local/ns/shop/sa/frontend"
TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)


def matches(value: str, actual: str) -> bool:
    return parse_pattern(value).matches(actual)


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
    assert parse_pattern("Web.*").matches("WEB.shop", ignore_case=True)


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


def test_a_principal_is_written_without_its_scheme() -> None:
    assert principal_pattern("cluster.local/ns/shop/sa/frontend").matches(FRONTEND)
    assert not principal_pattern("cluster.local/ns/shop/sa/front").matches(FRONTEND)
    assert not principal_pattern(FRONTEND).matches(FRONTEND)


def test_a_principal_may_be_a_prefix_a_suffix_or_anybody() -> None:
    assert principal_pattern("cluster.local/ns/shop/*").matches(FRONTEND)
    assert principal_pattern("*/sa/frontend").matches(FRONTEND)
    assert not principal_pattern("*/sa/front.nd").matches(FRONTEND)
    assert principal_pattern("*").matches(FRONTEND)


def test_a_caller_without_identity_matches_no_principal_namespace_or_account() -> None:
    assert not principal_pattern("*").matches(None)
    assert not namespace_pattern("*").matches(None)
    assert not service_account_pattern("frontend", "shop").matches(None)


def test_a_namespace_is_compared_whole_and_its_stars_stand_for_anything() -> None:
    assert namespace_pattern("shop").matches(FRONTEND)
    assert not namespace_pattern("sho").matches(FRONTEND)
    assert namespace_pattern("s*p").matches(FRONTEND)
    assert namespace_pattern("*op").matches(FRONTEND)
    assert not namespace_pattern("sh.p").matches(FRONTEND)


def test_an_account_without_a_namespace_is_one_of_the_policys_own() -> None:
    assert service_account_pattern("frontend", "shop").matches(FRONTEND)
    assert not service_account_pattern("frontend", "bank").matches(FRONTEND)
    assert service_account_pattern("shop/frontend", "bank").matches(FRONTEND)
    assert not service_account_pattern("shop/front", "bank").matches(FRONTEND)


def test_an_account_of_any_trust_domain_is_meant() -> None:
    assert service_account_pattern("shop/frontend", "shop").matches("spiffe://other.example/ns/shop/sa/frontend")
