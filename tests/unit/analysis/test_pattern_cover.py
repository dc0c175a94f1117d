"""Coverage of patterns: whenever it is claimed, no text proves the contrary."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.analysis.pattern_cover import contradict, covers, excludes, implies
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.pattern import AddressPattern, ListPattern, Pattern, PortPattern, RequestPrincipalPattern, TextPattern
from hauberk.policy.rule import Question

TEXTS = st.text(alphabet="abA/", max_size=4)
PATTERNS = st.one_of(
    st.builds(TextPattern, st.just("exact"), TEXTS.filter(bool), st.booleans()),
    st.builds(TextPattern, st.sampled_from(["prefix", "suffix"]), TEXTS, st.booleans()),
    st.just(TextPattern("present", "")),
    st.sampled_from([TextPattern("regex", ".*/a/.*"), TextPattern("regex", "/[^/]+"), TextPattern("regex", "a.*/b")]),
)


@given(PATTERNS, PATTERNS, TEXTS)
def test_what_a_covered_pattern_means_the_other_means(wide: TextPattern, narrow: TextPattern, text: str) -> None:
    if covers(wide, narrow) and narrow.matches(text):
        assert wide.matches(text)


@given(PATTERNS, PATTERNS, TEXTS)
def test_what_one_pattern_means_one_that_it_excludes_does_not(one: TextPattern, other: TextPattern, text: str) -> None:
    if excludes(one, other):
        assert not (one.matches(text) and other.matches(text))


def block(text: str) -> AddressPattern:
    return AddressPattern(ip_network(text))


def exact(text: str) -> TextPattern:
    return TextPattern("exact", text)


@pytest.mark.parametrize(
    ("wide", "narrow", "covered", "excluded"),
    [
        (block("10.0.0.0/8"), block("10.1.0.0/16"), True, False),
        (block("10.1.0.0/16"), block("10.0.0.0/8"), False, False),
        (block("10.1.0.0/16"), block("10.2.0.0/16"), False, True),
        (block("::/0"), block("10.2.0.0/16"), False, True),
        (PortPattern(80), PortPattern(80), True, False),
        (PortPattern(80), PortPattern(81), False, True),
        (ListPattern(TextPattern("present", "")), ListPattern(exact("a")), True, False),
        (ListPattern(exact("a")), exact("a"), False, False),
        (RequestPrincipalPattern(exact("i"), TextPattern("present", "")), RequestPrincipalPattern(exact("i"), exact("s")), True, False),
        (RequestPrincipalPattern(exact("i"), exact("s")), RequestPrincipalPattern(exact("j"), exact("s")), False, True),
    ],
)
def test_other_patterns_cover_and_exclude_as_their_values_do(wide: Pattern, narrow: Pattern, covered: bool, excluded: bool) -> None:
    assert (covers(wide, narrow), excludes(wide, narrow)) == (covered, excluded)


def question(kind: Kind, *patterns: Pattern, negated: bool = False) -> Question:
    return Question(Attribute(kind), patterns, negated, "somewhere", ())


def test_a_question_implies_what_holds_whenever_it_does() -> None:
    get, either = question(Kind.METHOD, exact("GET")), question(Kind.METHOD, exact("GET"), exact("PUT"))
    assert implies(get, either)
    assert not implies(either, get)
    assert implies(question(Kind.METHOD, exact("GET"), exact("PUT"), negated=True), question(Kind.METHOD, exact("GET"), negated=True))
    assert implies(get, question(Kind.METHOD, exact("PUT"), negated=True))
    assert not implies(question(Kind.METHOD, exact("PUT"), negated=True), get)
    assert not implies(get, question(Kind.HOST, exact("GET")))


def test_of_a_claim_several_values_may_be_true_at_once() -> None:
    one, other = question(Kind.CLAIM, exact("a")), question(Kind.CLAIM, exact("b"))
    assert contradict((one, other)) is None
    assert not implies(one, question(Kind.CLAIM, exact("b"), negated=True))
    assert contradict((one, question(Kind.CLAIM, exact("a"), negated=True))) is not None
    assert contradict((question(Kind.METHOD, exact("a")), question(Kind.METHOD, exact("b")))) is not None


def test_hosts_with_and_without_a_port_are_held_against_different_texts() -> None:
    plain, with_port = TextPattern("exact", "a.example", True), TextPattern("exact", "a.example:8080", True)
    one, other = question(Kind.HOST, plain), question(Kind.HOST, with_port)
    assert contradict((one, other)) is None
    assert not implies(one, question(Kind.HOST, with_port, negated=True))
    assert not implies(other, question(Kind.HOST, TextPattern("suffix", "8080", True)))
    assert implies(one, question(Kind.HOST, plain, with_port))
