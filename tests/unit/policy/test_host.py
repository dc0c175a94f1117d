"""Hosts compared, by the engine and by the expression that the sidecar is given."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hauberk.policy.host import host_expression, host_matches, parse_host

VALUES = st.text(st.sampled_from("aB.:8*"), min_size=1, max_size=6)
HOSTS = st.from_regex(re.compile(r"[aAbB.]{0,4}(:[80]{0,2})?|\[[:18a]{0,3}\](:8)?", re.ASCII), fullmatch=True)


def matches(value: str, sent: str) -> bool:
    return host_matches(parse_host(value), sent)


@pytest.mark.parametrize("sent", ["a.example", "A.Example", "a.example.", "a.example:8080", "A.EXAMPLE.:80", "a.example:"])
def test_a_host_is_compared_without_case_port_and_final_dot(sent: str) -> None:
    assert matches("a.example", sent)
    assert matches("*.example", sent)
    assert matches("a.ex*", sent)
    assert matches("A.example.", sent)


@pytest.mark.parametrize("sent", ["b.example", "a.example.org", "aa.example", "a.example..", "", "example"])
def test_another_host_is_another(sent: str) -> None:
    assert not matches("a.example", sent)


def test_a_value_that_speaks_of_a_port_minds_it() -> None:
    assert matches("a.example:80", "A.example.:80")
    assert not matches("a.example:80", "a.example")
    assert not matches("a.example:80", "a.example:8080")
    assert matches("*:80", "b.example:80")
    assert not matches("*:80", "b.example:8080")
    assert matches("a.example:8*", "a.example:8080")


def test_an_address_of_version_6_is_no_port() -> None:
    assert matches("[::1]", "[::1]:8080")
    assert matches("[::1]:8080", "[::1]:8080")
    assert not matches("[::1]:80", "[::1]:8080")


def test_a_port_is_no_end_of_a_name() -> None:
    assert not matches("*80", "a:80")


@example("..", ".")
@example("*a", "[a:]")
@example("*1]", "[::1]:8")
@example("a..", "a..")
@example("a..:8", "a..:8")
@given(VALUES, HOSTS)
def test_the_expression_says_what_the_engine_says(value: str, sent: str) -> None:
    pattern = parse_host(value)
    assert host_matches(pattern, sent) == (re.fullmatch(host_expression(pattern), sent) is not None)
