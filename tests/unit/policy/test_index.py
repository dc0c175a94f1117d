"""The tables only ever leave too many rules possible: they find what asking every rule finds."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.facts import observe
from hauberk.policy.identifier import RuleId
from hauberk.policy.index import Rules
from hauberk.policy.matching import rule_matches
from hauberk.policy.pattern import PortPattern, TextPattern
from hauberk.policy.request import Peer, Request
from hauberk.policy.rule import NormalRule, Question

WORDS = ("a", "ab", "/a", "/a/b", "/ab/c", "b", "GET", "a:80", "/x.y")
EXPRESSIONS = ("/a/[^/?#]+", ".*b", "(a|/a).*", "/a|b", "/x\\.y", "a+", "/ab?/c", "ab*", "")
TEXTS = st.one_of(
    st.builds(TextPattern, st.sampled_from(("exact", "prefix", "suffix", "present")), st.sampled_from(WORDS)),
    st.builds(TextPattern, st.just("regex"), st.sampled_from(EXPRESSIONS)),
)
KINDS = (Kind.IDENTITY, Kind.PATH, Kind.METHOD, Kind.HOST, Kind.SNI)
ATTRIBUTES = st.one_of(
    st.builds(Attribute, st.sampled_from(KINDS)),
    st.builds(Attribute, st.just(Kind.HEADER), st.sampled_from((("x",), ("y",)))),
    st.builds(Attribute, st.just(Kind.CLAIM), st.just(("c",))),
)
QUESTIONS = st.one_of(
    st.builds(Question, ATTRIBUTES, st.lists(TEXTS, min_size=1, max_size=3).map(tuple), st.booleans(), st.just(""), st.just(())),
    st.builds(
        Question, st.just(Attribute(Kind.PORT)), st.just((PortPattern(80), PortPattern(81))), st.booleans(), st.just(""), st.just(())
    ),
)
ALTERNATIVES = st.lists(QUESTIONS, max_size=2).map(tuple)
GROUPS = st.lists(ALTERNATIVES, max_size=3).map(tuple)
RULES = st.lists(st.tuples(GROUPS, GROUPS, ALTERNATIVES), min_size=5, max_size=12)
WORD = st.sampled_from(WORDS)
REQUESTS = st.builds(
    Request,
    port=st.sampled_from((80, 81, 82)),
    http=st.booleans(),
    method=WORD,
    path=WORD,
    host=WORD,
    headers=st.dictionaries(st.sampled_from(("x", "y")), st.lists(WORD, min_size=1, max_size=2).map(tuple)),
    sni=st.none() | WORD,
    claims=st.none() | st.dictionaries(st.just("c"), WORD | st.lists(WORD, max_size=2)),
)


@settings(max_examples=50)
@given(RULES, st.lists(st.tuples(REQUESTS, st.none() | WORD), min_size=1, max_size=4))
def test_the_tables_find_what_asking_every_rule_finds(
    parts: list[tuple[tuple[tuple[Question, ...], ...], tuple[tuple[Question, ...], ...], tuple[Question, ...]]],
    asked: list[tuple[Request, str | None]],
) -> None:
    rules = Rules(NormalRule(RuleId("n", "p", number), *part) for number, part in enumerate(parts))
    for request, identity in asked:
        facts = observe(request, Peer(identity))
        assert [rule.id for rule in rules.matching(facts)] == [rule.id for rule in rules.ordered if rule_matches(rule, facts)]


@pytest.mark.parametrize(("length", "kept"), [(100, 1), (5000, 0)])
def test_long_values_are_not_kept(length: int, kept: int) -> None:
    wanted = Question(Attribute(Kind.METHOD), (TextPattern("prefix", "GGG"),), negated=False, path="", values=())
    rules = Rules(NormalRule(RuleId("n", "p", number), (), ((wanted,),), ()) for number in range(9))
    method = "".join(["G"] * length)
    before = sys.getrefcount(method)
    assert len(list(rules.matching(observe(Request(port=80, method=method, path="/"), Peer(None))))) == 9
    assert sys.getrefcount(method) == before + kept
