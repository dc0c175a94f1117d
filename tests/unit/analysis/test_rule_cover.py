"""Coverage of rules against the engine: no request matches a rule and not the one that is said to cover it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.analysis.pattern_cover import contradict
from hauberk.analysis.rule_cover import rule_covers
from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.document import from_document
from hauberk.policy.facts import Facts, observe
from hauberk.policy.matching import rule_matches
from hauberk.policy.normalize import normalize
from hauberk.policy.request import Peer, Request
from hauberk.policy.rule import NormalRule
from hauberk.policy.trust_domains import TrustDomains

VALUES: dict[str, list[str]] = {
    "principals": ["*", "cluster.local/ns/a/sa/x", "cluster.local/ns/a/*", "*/sa/x", "td/ns/b/sa/x"],
    "namespaces": ["a", "*", "b"],
    "serviceAccounts": ["a/x", "x"],
    "requestPrincipals": ["*", "i/s", "i/*", "*/s", "i/s*"],
    "ipBlocks": ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1"],
    "trustDomains": ["cluster.local", "t*", "*"],
}
OPERATIONS: dict[str, list[str]] = {
    "methods": ["GET", "PUT", "*"],
    "paths": ["/a", "/a*", "*/b", "/a/{*}", "/a/{**}", "*"],
    "hosts": ["h", "h:80", "*h", "*"],
    "ports": ["80", "81"],
}
CONDITIONS: dict[str, list[str]] = {
    "request.headers[n]": ["a", "*", "a,b", "a*"],
    "request.auth.claims[g]": ["a", "b", "*"],
    "source.principal": VALUES["principals"],
    "source.ip": VALUES["ipBlocks"],
    "connection.sni": ["a", "*"],
}


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2)


def clause(fields: dict[str, list[str]]) -> st.SearchStrategy[dict[str, list[str]]]:
    both = {name: some(values) for name, values in fields.items()}
    both |= {f"not{name[0].upper()}{name[1:]}": some(values) for name, values in fields.items()}
    names = st.lists(st.sampled_from(sorted(both)), min_size=1, max_size=2, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: both[name] for name in chosen}))


@st.composite
def rules(draw: st.DrawFn) -> NormalRule:
    rule: dict[str, Any] = {}
    if draw(st.booleans()):
        rule["from"] = [{"source": each} for each in draw(st.lists(clause(VALUES), min_size=1, max_size=2))]
    if draw(st.booleans()):
        rule["to"] = [{"operation": each} for each in draw(st.lists(clause(OPERATIONS), min_size=1, max_size=2))]
    if draw(st.booleans()):
        key = draw(st.sampled_from(sorted(CONDITIONS)))
        rule["when"] = [{"key": key, draw(st.sampled_from(["values", "notValues"])): draw(some(CONDITIONS[key]))}]
    policy = from_document({**HEAD, "spec": {"rules": [rule]}})
    assert isinstance(policy, AuthorizationPolicy)
    return normalize(policy, TrustDomains()).rules[0]


HEAD = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "p", "namespace": "a"}}
REQUESTS = st.builds(
    lambda claims, header, sni, **fields: Request(claims=claims, headers={"n": header} if header else {}, sni=sni, **fields),
    claims=st.sampled_from(
        [None, {"iss": "i", "sub": "s", "g": ["a", "b"]}, {"iss": "i", "sub": "st", "g": "a"}, {"iss": "j", "sub": "s"}]
    ),
    header=st.sampled_from([(), ("a",), ("a", "b"), ("",)]),
    sni=st.sampled_from([None, "a"]),
    port=st.sampled_from([80, 81]),
    method=st.sampled_from(["GET", "PUT"]),
    path=st.sampled_from(["/a", "/a/b", "/a/b/c", "/b", "/a?x=/b"]),
    host=st.sampled_from(["h", "H", "h:80", "h:81", "xh"]),
)
PEERS = st.builds(
    Peer,
    st.sampled_from([None, "spiffe://cluster.local/ns/a/sa/x", "spiffe://cluster.local/ns/a/sa/y", "spiffe://td/ns/b/sa/x"]),
    st.sampled_from(["10.1.2.3", "10.2.0.1", "192.0.2.1"]),
)
FACTS = st.builds(observe, REQUESTS, PEERS)


@settings(max_examples=100)
@given(rules(), rules(), st.lists(FACTS, min_size=20, max_size=20))
def test_what_a_covered_rule_matches_the_other_matches(wide: NormalRule, narrow: NormalRule, requests: list[Facts]) -> None:
    if rule_covers(wide, narrow):
        assert all(rule_matches(wide, each) for each in requests if rule_matches(narrow, each))


@settings(max_examples=60)
@given(rules(), st.lists(FACTS, min_size=20, max_size=20))
def test_what_contradicts_itself_matches_nothing(rule: NormalRule, requests: list[Facts]) -> None:
    for alternative in rule.sources + rule.operations:
        if contradict((*rule.conditions, *alternative)):
            only = NormalRule(rule.id, (alternative,), (), rule.conditions)
            assert not any(rule_matches(only, each) for each in requests)


@given(rules())
def test_every_rule_covers_itself(rule: NormalRule) -> None:
    assert rule_covers(rule, rule)
