"""Istio's precedence and matching, decided on imagined requests."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.policy.decision import decide, select_policies
from hauberk.policy.identifier import RuleId, parse_rule_id
from hauberk.policy.request import Peer, Request, Workload
from hauberk.policy.trust_domains import TrustDomains
from hauberk.policy.verdict import Verdict

FRONTEND = Peer("spiffe://cluster.local/ns/shop/sa/frontend")
STRANGER = Peer("spiffe://cluster.local/ns/bank/sa/teller")
PLAINTEXT = Peer(None)
ORDERS = Workload(namespace="shop", labels={"app": "orders", "version": "v1"})
GET = Request(port=8080, method="GET", path="/orders/17?x=1", host="orders.shop")
TCP = Request(port=5432, http=False)

Rules = list[dict[str, Any]]


def policy(name: str, action: str, *rules: dict[str, Any], namespace: str = "shop", **selector: str) -> AuthorizationPolicy:
    document = {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"action": action, "rules": list(rules), "selector": {"matchLabels": selector}},
    }
    return AuthorizationPolicy.model_validate(document)


def source(**fields: list[str]) -> dict[str, Any]:
    return {"from": [{"source": fields}]}


def operation(**fields: list[str]) -> dict[str, Any]:
    return {"to": [{"operation": fields}]}


def asked(*policies: AuthorizationPolicy, request: Request = GET, peer: Peer = FRONTEND) -> Verdict:
    return decide(request, peer, ORDERS, policies)


def allowed(*policies: AuthorizationPolicy, request: Request = GET, peer: Peer = FRONTEND) -> bool:
    return asked(*policies, request=request, peer=peer).allowed


def test_without_a_policy_everything_is_allowed() -> None:
    assert asked().decided_by is None
    assert allowed()


def test_an_allow_policy_without_rules_denies_everything() -> None:
    verdict = asked(policy("nothing", "ALLOW"))
    assert not verdict.allowed
    assert verdict.judgement.name == "hauberk-no-allow-matched"


def test_a_rule_without_clauses_matches_everything_also_plaintext_and_tcp() -> None:
    assert allowed(policy("all", "ALLOW", {}), peer=PLAINTEXT, request=TCP)
    assert not allowed(policy("all", "DENY", {}), peer=PLAINTEXT, request=TCP)


def test_deny_wins_over_allow() -> None:
    verdict = asked(policy("a", "ALLOW", {}), policy("d", "DENY", operation(methods=["GET"])))
    assert verdict.decided_by == RuleId("shop", "d", 0)
    assert verdict.judgement.name == "ns[shop]-policy[d]-rule[0]"


def test_a_deny_policy_that_does_not_match_allows_the_rest() -> None:
    assert allowed(policy("d", "DENY", operation(methods=["POST"])))


def test_one_matching_allow_rule_of_many_is_enough() -> None:
    one = policy("one", "ALLOW", operation(methods=["POST"]), source(namespaces=["shop"]))
    assert asked(policy("other", "ALLOW", source(namespaces=["bank"])), one).decided_by == RuleId("shop", "one", 1)


def test_from_and_to_must_both_match() -> None:
    both = source(namespaces=["shop"]) | operation(methods=["POST"])
    assert not allowed(policy("p", "ALLOW", both))


def test_fields_of_a_source_are_and_values_are_or() -> None:
    assert allowed(policy("p", "ALLOW", source(namespaces=["bank", "shop"], principals=["*/sa/frontend"])))
    assert not allowed(policy("p", "ALLOW", source(namespaces=["shop"], principals=["*/sa/teller"])))


def test_entries_of_from_are_or() -> None:
    rule = {"from": [{"source": {"namespaces": ["bank"]}}, {"source": {"namespaces": ["shop"]}}]}
    assert allowed(policy("p", "ALLOW", rule))


def test_not_excludes_each_of_its_values() -> None:
    assert not allowed(policy("p", "ALLOW", operation(notPaths=["/admin", "/orders/*"])))
    assert allowed(policy("p", "ALLOW", operation(notPaths=["/admin"])))


def test_the_query_is_no_part_of_the_path() -> None:
    assert allowed(policy("p", "ALLOW", operation(paths=["/orders/17"])))


def test_paths_and_methods_mind_case_and_hosts_do_not() -> None:
    assert not allowed(policy("p", "ALLOW", operation(paths=["/Orders/17"])))
    assert not allowed(policy("p", "ALLOW", operation(methods=["get"])))
    assert allowed(policy("p", "ALLOW", operation(hosts=["ORDERS.*"])))


def test_ports_are_those_of_the_workload_as_numbers() -> None:
    assert allowed(policy("p", "ALLOW", operation(ports=["08080"])))
    assert not allowed(policy("p", "ALLOW", operation(notPorts=["8080"])))


def test_a_plaintext_caller_matches_only_what_excludes_identities() -> None:
    assert not allowed(policy("p", "ALLOW", source(principals=["*"])), peer=PLAINTEXT)
    assert not allowed(policy("p", "DENY", source(notPrincipals=["*"])), peer=PLAINTEXT)
    assert allowed(policy("p", "DENY", source(notPrincipals=["*"])), peer=FRONTEND)


def test_an_account_without_namespace_is_one_of_the_policys_own() -> None:
    rule = source(serviceAccounts=["frontend"])
    assert allowed(policy("p", "ALLOW", rule))
    assert not allowed(policy("p", "ALLOW", rule, namespace="istio-system"))
    assert not allowed(policy("p", "ALLOW", rule), peer=STRANGER)


def test_an_allow_rule_of_http_says_nothing_about_tcp_but_its_policy_still_counts() -> None:
    verdict = asked(policy("p", "ALLOW", operation(methods=["GET"], ports=["5432"])), request=TCP)
    assert not verdict.allowed
    assert verdict.policies[0].rules[0].outcome == "dropped"


def test_an_allow_rule_is_dropped_whole_even_if_another_operation_is_not_of_http() -> None:
    rule = {"to": [{"operation": {"methods": ["GET"]}}, {"operation": {"ports": ["5432"]}}]}
    assert not allowed(policy("p", "ALLOW", rule), request=TCP)


def test_a_deny_rule_of_http_denies_every_tcp_connection() -> None:
    verdict = asked(policy("p", "DENY", operation(methods=["DELETE"])), request=TCP)
    assert not verdict.allowed
    assert verdict.policies[0].rules[0].widened


def test_a_deny_rule_with_other_ports_stays_narrow_on_tcp() -> None:
    assert allowed(policy("p", "DENY", operation(methods=["DELETE"], ports=["8080"])), request=TCP)
    assert not allowed(policy("p", "DENY", operation(notPaths=["/x"], ports=["5432"])), request=TCP)


def test_a_tcp_rule_by_caller_and_port_is_exact() -> None:
    rule = source(principals=["cluster.local/ns/shop/sa/frontend"]) | operation(ports=["5432"])
    assert allowed(policy("p", "ALLOW", rule), request=TCP)
    assert not allowed(policy("p", "ALLOW", rule), request=TCP, peer=STRANGER)


def test_policies_of_other_namespaces_and_labels_do_not_count() -> None:
    elsewhere = policy("e", "DENY", {}, namespace="bank")
    others = policy("o", "DENY", {}, app="payments")
    root = policy("r", "ALLOW", {}, namespace="istio-system", app="orders")
    own = policy("w", "ALLOW", {}, version="v1")
    assert [each.metadata.name for each in select_policies(ORDERS, (own, elsewhere, others, root))] == ["r", "w"]


def test_the_root_namespace_can_be_another() -> None:
    mesh_wide = policy("m", "DENY", {}, namespace="mesh")
    assert decide(GET, FRONTEND, ORDERS, (mesh_wide,)).allowed
    assert not decide(GET, FRONTEND, ORDERS, (mesh_wide,), root_namespace="mesh").allowed


def test_the_trace_names_the_clause_that_failed_and_what_it_found() -> None:
    rule = source(namespaces=["bank"]) | operation(methods=["POST"], paths=["/x"])
    failed = asked(policy("p", "ALLOW", rule)).policies[0].rules[0].failed
    assert [each.path for each in failed] == ["spec.rules[0].from[0].source.namespaces", "spec.rules[0].to[0].operation.methods"]
    assert str(failed[1]) == "spec.rules[0].to[0].operation.methods is POST; the request has GET"


def test_an_excluding_clause_is_named_as_it_is_written() -> None:
    failed = asked(policy("p", "ALLOW", source(notNamespaces=["shop"]))).policies[0].rules[0].failed
    assert failed[0].path.endswith("source.notNamespaces")


def test_of_several_matching_rules_the_one_that_envoy_names_decides() -> None:
    rules = [{"to": [{"operation": {"methods": ["POST"]}}]}] * 2 + [{}] * 9
    assert asked(policy("p", "DENY", *rules)).decided_by == RuleId("shop", "p", 10)


def test_a_rules_name_can_be_read_back() -> None:
    rule = RuleId("shop", "orders.write", 3)
    assert parse_rule_id(str(rule)) == rule
    assert parse_rule_id("none") is None


VALUES = st.lists(st.sampled_from(["shop", "bank", "*"]), max_size=2)
SOURCES = st.builds(lambda wanted, excluded: source(namespaces=wanted, notNamespaces=excluded), VALUES, VALUES)
METHODS = st.lists(st.sampled_from(["GET", "POST", "*"]), max_size=2)
PORTS = st.lists(st.sampled_from(["8080", "5432"]), max_size=2)
OPERATIONS = st.builds(lambda methods, ports: operation(methods=methods, ports=ports), METHODS, PORTS)
RULES: st.SearchStrategy[Rules] = st.lists(st.builds(lambda one, other: one | other, SOURCES, OPERATIONS) | st.just({}), max_size=3)
POLICIES = st.lists(
    st.builds(lambda name, action, rules: policy(name, action, *rules), st.uuids().map(str), st.sampled_from(["ALLOW", "DENY"]), RULES),
    max_size=4,
)
PEERS = st.sampled_from([FRONTEND, STRANGER, PLAINTEXT])
REQUESTS = st.sampled_from([GET, TCP])


@given(POLICIES, RULES, PEERS, REQUESTS)
def test_another_deny_policy_never_allows_more(policies: list[AuthorizationPolicy], rules: Rules, peer: Peer, request: Request) -> None:
    before = decide(request, peer, ORDERS, policies).allowed
    assert not decide(request, peer, ORDERS, [*policies, policy("more", "DENY", *rules)]).allowed or before


@given(POLICIES, RULES, PEERS, REQUESTS)
def test_another_allow_policy_never_denies_more_once_there_is_one(
    policies: list[AuthorizationPolicy], rules: Rules, peer: Peer, request: Request
) -> None:
    policies = [*policies, policy("first", "ALLOW")]
    before = decide(request, peer, ORDERS, policies).allowed
    assert decide(request, peer, ORDERS, [*policies, policy("more", "ALLOW", *rules)]).allowed or not before


@given(POLICIES, PEERS, REQUESTS, st.randoms(use_true_random=False))
def test_the_order_of_policies_makes_no_difference(
    policies: list[AuthorizationPolicy], peer: Peer, request: Request, chance: random.Random
) -> None:
    shuffled = list(policies)
    chance.shuffle(shuffled)
    assert decide(request, peer, ORDERS, shuffled) == decide(request, peer, ORDERS, policies)


def test_while_a_mesh_is_renamed_policies_of_either_name_mean_callers_of_either() -> None:
    domains = TrustDomains("new.example", ("old.example",), ("b.example",))
    for written in ("old.example", "new.example", "cluster.local"):
        rule = policy("frontend", "ALLOW", source(principals=[f"{written}/ns/shop/sa/frontend"]))
        for called, expected in (("old.example", True), ("new.example", True), ("b.example", False)):
            peer = Peer(f"spiffe://{called}/ns/shop/sa/frontend")
            assert decide(GET, peer, ORDERS, [rule], domains=domains).allowed is expected, (written, called)


def test_a_foreign_domains_namespace_of_the_same_name_is_another_one() -> None:
    domains = TrustDomains("a.example", foreign=("b.example",))
    foreign = Peer("spiffe://b.example/ns/shop/sa/frontend")
    for fields in ({"namespaces": ["shop"]}, {"namespaces": ["*"]}, {"serviceAccounts": ["frontend"]}):
        assert not decide(GET, foreign, ORDERS, [policy("own", "ALLOW", source(**fields))], domains=domains).allowed
    named = policy("named", "ALLOW", source(principals=["b.example/ns/shop/*"]))
    assert decide(GET, foreign, ORDERS, [named], domains=domains).allowed
