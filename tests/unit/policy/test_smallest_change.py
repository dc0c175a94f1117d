"""The smallest edits that turn a decision, each of them tried."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.policy.decision import Meshwide, build_ruleset
from hauberk.policy.facts import observe
from hauberk.policy.request import Peer, Request
from hauberk.policy.smallest_change import smallest_changes

FRONTEND = Peer("spiffe://cluster.local/ns/shop/sa/frontend", "10.1.1.1")
POST = Request(
    port=8080, method="POST", path="/orders/17", host="orders", claims={"iss": "https://id", "sub": "anna", "groups": ["reader"]}
)


def policy(action: str, *rules: dict[str, Any], name: str = "orders-write") -> AuthorizationPolicy:
    metadata = {"name": name, "namespace": "shop"}
    return AuthorizationPolicy.model_validate({"metadata": metadata, "spec": {"action": action, "rules": list(rules)}})


def changes(*policies: AuthorizationPolicy, allow: bool = True, request: Request = POST, peer: Peer = FRONTEND) -> list[str]:
    ruleset = build_ruleset(policies, Meshwide())
    return [str(change) for change in smallest_changes(ruleset, observe(request, peer), allow=allow)]


def test_a_value_is_added_where_it_was_wanted_or_the_request_is_another() -> None:
    rule = {"to": [{"operation": {"methods": ["POST"]}}], "when": [{"key": "request.auth.claims[groups]", "values": ["writer"]}]}
    assert changes(policy("ALLOW", rule)) == [
        'add "reader" at spec.rules[0].when[0].values of shop/orders-write',
        "a request with claim groups writer",
    ]


def test_values_are_written_as_the_field_wants_them() -> None:
    for field, value in (
        ("principals", "cluster.local/ns/shop/sa/frontend"),
        ("namespaces", "shop"),
        ("serviceAccounts", "shop/frontend"),
        ("trustDomains", "cluster.local"),
        ("requestPrincipals", "https://id/anna"),
        ("ipBlocks", "10.1.1.1"),
    ):
        other = "192.0.2.1" if field == "ipBlocks" else "other"
        found = changes(policy("ALLOW", {"from": [{"source": {field: [other]}}]}))
        assert f'add "{value}" at spec.rules[0].from[0].source.{field} of shop/orders-write' in found


def test_a_condition_about_the_caller_is_answered_in_its_own_words() -> None:
    rule = {"when": [{"key": "source.namespace", "values": ["bank"]}]}
    assert 'add "shop" at spec.rules[0].when[0].values of shop/orders-write' in changes(policy("ALLOW", rule))


def test_the_rule_that_is_nearest_comes_first() -> None:
    far = {"from": [{"source": {"principals": ["x"]}}], "to": [{"operation": {"methods": ["GET"], "paths": ["/x"]}}]}
    near = {"to": [{"operation": {"methods": ["GET"], "paths": ["/orders/*"]}}]}
    assert changes(policy("ALLOW", far, near))[0] == 'add "POST" at spec.rules[1].to[0].operation.methods of shop/orders-write'


def test_what_denies_is_made_to_miss_and_what_allows_to_match() -> None:
    deny = policy("DENY", {"to": [{"operation": {"methods": ["PUT", "POST"]}}]}, name="deny")
    allow = policy("ALLOW", {"from": [{"source": {"namespaces": ["bank"]}}]})
    assert changes(deny, allow)[0] == (
        'remove "POST" at spec.rules[0].to[0].operation.methods of shop/deny, and '
        'add "shop" at spec.rules[0].from[0].source.namespaces of shop/orders-write'
    )


def test_an_exception_is_added_where_there_are_exceptions() -> None:
    deny = policy("DENY", {"from": [{"source": {"notNamespaces": ["bank"]}}]})
    assert changes(deny)[0] == 'add "shop" at spec.rules[0].from[0].source.notNamespaces of shop/orders-write'


def test_a_rule_without_questions_can_only_go() -> None:
    assert changes(policy("DENY", {})) == ["remove spec.rules[0] of shop/orders-write"]


def test_what_allows_can_be_made_to_deny() -> None:
    allow = policy("ALLOW", {"to": [{"operation": {"methods": ["POST", "GET"]}}]})
    assert changes(allow, allow=False)[0] == 'remove "POST" at spec.rules[0].to[0].operation.methods of shop/orders-write'


def test_nothing_is_to_be_changed_where_it_is_so_already() -> None:
    assert changes() == []


def test_an_ambiguous_path_can_be_sent_in_another_form() -> None:
    deny = policy("DENY", {"to": [{"operation": {"paths": ["/x"]}}]})
    assert changes(deny, request=Request(port=1, path="/a%2fb")) == ["a request with path /a/b"]


FIELDS = st.dictionaries(
    st.sampled_from(("methods", "notMethods", "paths", "notPaths", "ports")), st.lists(st.sampled_from(("1", "2")), min_size=1), max_size=2
)
RULES = st.lists(FIELDS.map(lambda fields: {"to": [{"operation": fields}]} if fields else {}), max_size=3)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(("ALLOW", "DENY")), RULES), max_size=3), st.booleans())
def test_there_is_always_a_change_where_rules_are_in_the_way(drawn: list[tuple[str, list[dict[str, Any]]]], allow: bool) -> None:
    policies = [policy(action, *rules, name=f"p{number}") for number, (action, rules) in enumerate(drawn)]
    request = Request(port=1, method="1", path="1")
    allowed = build_ruleset(policies, Meshwide()).judge(observe(request, FRONTEND)).allowed
    found = changes(*policies, allow=allow, request=request)
    if allowed is allow:
        assert found == []
    elif all(action == "DENY" for action, rules in drawn if rules) and allow and not any(action == "ALLOW" for action, _ in drawn):
        hindering = sum(len(rules) for _, rules in drawn)
        assert found or hindering > 3
