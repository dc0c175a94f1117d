from __future__ import annotations

from typing import Any

from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from tests.unit.mesh.mesh_objects import policy
from tests.unit.translate.envoy_matcher import name_of
from tests.unit.translate.test_matching import seen
from tests.unit.translate.test_rate_limit import policy as limited

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.policy.facts import observe
from hauberk.policy.request import Peer, Request
from hauberk.policy.ruleset import Paths
from hauberk.policy.trust_domains import TrustDomains
from hauberk.policy.verdict import AMBIGUOUS_PATH, NO_ALLOW_MATCHED, NO_ALLOW_POLICY
from hauberk.translate.access_log import AUDIT_PREFIX, DRY_RUN_PREFIX
from hauberk.translate.rbac import AUDIT, DECISION, NO_AUDIT_MATCHED, HttpRules

ALICE = Peer("spiffe://cluster.local/ns/shop/sa/alice")


def in_dry_run(found: AuthorizationPolicy) -> AuthorizationPolicy:
    metadata = found.metadata.model_copy(update={"annotations": {"istio.io/dry-run": "true"}})
    return found.model_copy(update={"metadata": metadata})


def rules(*policies: AuthorizationPolicy, paths: Paths = Paths(), limits: tuple[RateLimitPolicy, ...] = ()) -> HttpRules:  # noqa: B008  # a frozen value
    return HttpRules(policies, TrustDomains(), paths, limits)


def told(made: HttpRules, name: str = DECISION, port: int | None = None) -> rbac_pb2.RBAC:
    route = rbac_pb2.RBACPerRoute()
    assert made.at(port)[name].Unpack(route)
    return route.rbac


def decided(made: HttpRules, path: str = "/", *, shadow: bool = False, name: str = DECISION, **request: Any) -> str | None:
    rbac = told(made, name)
    matcher = rbac.shadow_matcher if shadow else rbac.matcher
    return name_of(matcher, seen(observe(Request(port=80, path=path, **request), ALICE)))


def get(methods: str) -> dict[str, Any]:
    return {"to": [{"operation": {"methods": [methods]}}]}


def paths_of(*values: str) -> dict[str, Any]:
    return {"to": [{"operation": {"paths": list(values)}}]}


def test_without_policies_no_filter_is_told_anything() -> None:
    assert not rules().at(80)


def test_deny_comes_before_allow_and_each_rule_says_its_name() -> None:
    made = rules(policy("a", "ALLOW", get("GET")), policy("z", "DENY", get("PUT"), get("GET*")))
    assert decided(made, method="GET") == "ns[shop]-policy[z]-rule[1]"
    assert decided(made, method="PUT") == "ns[shop]-policy[z]-rule[0]"
    assert decided(made, method="POST") == NO_ALLOW_MATCHED


def test_what_follows_from_there_being_no_rule_has_a_name() -> None:
    assert decided(rules(policy("nothing", "ALLOW"))) == NO_ALLOW_MATCHED
    assert decided(rules(policy("d", "DENY", get("PUT"))), method="GET") == NO_ALLOW_POLICY


def test_a_policy_in_dry_run_is_not_enforced_but_the_shadow_says_what_would_be() -> None:
    made = rules(policy("a", "ALLOW", get("GET")), in_dry_run(policy("d", "DENY", {})))
    assert decided(made, method="GET") == "ns[shop]-policy[a]-rule[0]"
    assert decided(made, method="GET", shadow=True) == "ns[shop]-policy[d]-rule[0]"
    assert told(made).shadow_rules_stat_prefix == DRY_RUN_PREFIX


def test_without_dry_run_nothing_is_shadowed_and_with_nothing_else_nothing_is_enforced() -> None:
    assert not told(rules(policy("a", "ALLOW", {}))).HasField("shadow_matcher")
    assert not told(rules(in_dry_run(policy("a", "ALLOW", {})))).HasField("matcher")


def test_audit_is_a_shadow_of_its_own() -> None:
    made = rules(policy("watch", "AUDIT", get("PUT")))
    assert told(made, AUDIT).shadow_rules_stat_prefix == AUDIT_PREFIX
    assert decided(made, method="PUT", shadow=True, name=AUDIT) == "ns[shop]-policy[watch]-rule[0]"
    assert decided(made, method="GET", shadow=True, name=AUDIT) == NO_AUDIT_MATCHED
    assert DECISION not in made.at(80)


def test_a_path_that_can_be_read_in_two_ways_is_refused_where_paths_are_asked_about() -> None:
    made = rules(policy("a", "ALLOW", paths_of("/a/*")))
    for path in ("/a/b%2Fc", "/a/b;c", "/a//b", "/a/%2561", "/a/%5c"):
        assert decided(made, path) == AMBIGUOUS_PATH
    for path in ("/a/b", "/a/b?x=%2f//;", "/a/%20"):
        assert decided(made, path) == "ns[shop]-policy[a]-rule[0]"


def test_ambiguous_paths_can_be_let_through_and_are_where_no_policy_asks_about_paths() -> None:
    assert decided(rules(policy("a", "ALLOW", paths_of("/a/*")), paths=Paths(ambiguous=True)), "/a//b") != AMBIGUOUS_PATH
    assert decided(rules(policy("a", "ALLOW", get("GET"))), "/a//b", method="GET") != AMBIGUOUS_PATH


def test_limits_that_are_enforced_ask_about_parts_of_requests_too() -> None:
    by_path = {"by": ["request.path"]}
    for limit in ({"match": {"paths": ["/login"]}}, by_path):
        made = rules(limits=(limited("l", limit),))
        assert decided(made, "//login") == AMBIGUOUS_PATH
        assert decided(made, "/login") == NO_ALLOW_POLICY
    assert rules(limits=(limited("l", by_path, **{"istio.io/dry-run": "true"}),)).at(80) == {}
    assert rules(limits=(limited("l", {"by": ["source.principal"]}),)).at(80) == {}


def test_without_normalization_dots_are_ambiguous_too() -> None:
    made = rules(policy("a", "ALLOW", paths_of("/a*")), paths=Paths("NONE"))
    for path in ("/a/../b", "/a/.", "/a/..?x", "/a/%2e/b"):
        rbac = told(made)
        assert name_of(rbac.matcher, seen(observe(Request(port=80, path=path), ALICE, "NONE"))) == AMBIGUOUS_PATH


def test_a_declared_port_needs_not_be_asked_about_any_more() -> None:
    made = rules(policy("a", "ALLOW", {"to": [{"operation": {"ports": ["80"], "methods": ["GET"]}}]}))
    assert "DestinationPort" not in str(told(made, port=80))
    assert "DestinationPort" in str(told(made))
    assert name_of(told(made, port=81).matcher, seen(observe(Request(port=81, method="GET"), ALICE))) == NO_ALLOW_MATCHED


def test_ports_that_no_rule_names_share_their_rules() -> None:
    made = rules(policy("a", "ALLOW", {"to": [{"operation": {"ports": ["80"]}}]}))
    assert made.at(81) is made.at(82)
    assert made.at(80) is not made.at(81)
