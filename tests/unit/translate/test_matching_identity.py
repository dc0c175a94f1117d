"""Who is asked by parts of an identity is asked the same as by the whole expression."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.translate.envoy_matcher import name_of

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.identifier import RuleId
from hauberk.policy.identity import SCHEME, namespace_pattern, service_account_pattern
from hauberk.policy.pattern import TextPattern
from hauberk.policy.rule import NormalRule, Question
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.matching import Place, outcome_matcher
from hauberk.translate.matching_clause import Outcome
from hauberk.translate.matching_identity import UsualIdentities

DOMAINS = (TrustDomains("td"), TrustDomains("td", ("ns",)), TrustDomains("td", ("sa",), ("far.td",)), TrustDomains("ns", (), ("td",)))
NAMES = st.sampled_from(["ns", "sa", "a", "shop", "s.p", "sap"])
# Mostly of the usual form; others have pairs in excess, or too little.
IDENTITIES = st.one_of(
    st.builds("{}/ns/{}/sa/{}".format, st.sampled_from(["td", "ns", "sa", "far.td", "else"]), NAMES, NAMES),
    st.lists(st.sampled_from(["td", "ns", "sa", "a", "shop", "ns/sa", "ns/ns", "sa/ns"]), min_size=1, max_size=7).map("/".join),
).map(SCHEME.__add__)
NAMESPACES = st.sampled_from(["ns", "sa", "a", "shop", "s.p", "*a", "s*", "*", "n*s", "*s*"])
ACCOUNTS = st.sampled_from(["ns", "sa", "ns/sa", "sa/ns", "ns/ns", "sa/sa", "shop/a", "a"])
PATTERNS = st.builds(lambda value, domains: (namespace_pattern(value, domains), domains), NAMESPACES, st.sampled_from(DOMAINS)) | st.builds(
    lambda value, domains: (service_account_pattern(value, "sa", domains), domains), ACCOUNTS, st.sampled_from(DOMAINS)
)


@given(PATTERNS, IDENTITIES)
def test_identities_of_the_usual_form_are_asked_by_their_parts_as_by_the_expression(
    asked: tuple[TextPattern, TrustDomains], identity: str
) -> None:
    pattern, domains = asked
    quicker = UsualIdentities(domains).quicker(pattern)
    usual = re.fullmatch(r"spiffe://(?P<domain>[^/]+)/ns/[^/]+/sa/[^/]+", identity)
    if quicker is not None and usual is not None and usual["domain"] in domains.accepted:
        assert any(isinstance(each, TextPattern) and each.matches(identity) for each in quicker) is pattern.matches(identity)


@given(st.sampled_from(DOMAINS), st.lists(NAMESPACES, min_size=4, max_size=6), st.booleans(), IDENTITIES)
def test_the_tree_means_every_identity_that_the_normal_form_means(
    domains: TrustDomains, namespaces: list[str], negated: bool, identity: str
) -> None:
    patterns = tuple(namespace_pattern(each, domains) for each in namespaces)
    question = Question(Attribute(Kind.IDENTITY), patterns, negated, "spec", ())
    rule = NormalRule(RuleId("shop", "p", 0), (), (), (question,))
    matcher = outcome_matcher([(rule, Outcome("meant", True))], Outcome("nobody", False), Place(domains))
    meant = any(pattern.matches(identity) for pattern in patterns) is not negated

    def value(kind: str, _: tuple[str, ...]) -> str | None:
        return identity if kind == "identity" else None

    assert name_of(matcher, value) == ("meant" if meant else "nobody")


def test_nobody_of_another_namespace_is_meant() -> None:
    usual = UsualIdentities(TrustDomains("td"))
    (found,) = usual.quicker(namespace_pattern("sa", usual.domains)) or ()
    assert found == TextPattern("prefix", "spiffe://td/ns/sa/")
    assert usual.quicker(namespace_pattern("s*", usual.domains)) is None
