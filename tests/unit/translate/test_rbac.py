from __future__ import annotations

from typing import Any

from tests.unit.mesh.mesh_objects import policy

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.rbac import HttpRules, http_rules


def rules(*policies: AuthorizationPolicy) -> HttpRules:
    return http_rules(policies, TrustDomains())


def permission(**operation: Any) -> Any:
    allow = rules(policy("p", "ALLOW", {"to": [{"operation": operation}]})).allow
    assert allow is not None
    return allow.policies["ns[shop]-policy[p]-rule[0]"].permissions[0]


def principal(**source: Any) -> Any:
    allow = rules(policy("p", "ALLOW", {"from": [{"source": source}]})).allow
    assert allow is not None
    return allow.policies["ns[shop]-policy[p]-rule[0]"].principals[0]


def test_each_action_has_its_own_rules_and_none_where_no_policy_has_it() -> None:
    assert rules() == HttpRules(None, None)
    found = rules(policy("a", "ALLOW", {}), policy("d", "DENY", {}, {}))
    assert found.allow is not None
    assert found.deny is not None
    assert list(found.allow.policies) == ["ns[shop]-policy[a]-rule[0]"]
    assert sorted(found.deny.policies) == ["ns[shop]-policy[d]-rule[0]", "ns[shop]-policy[d]-rule[1]"]


def test_allow_without_rules_is_kept_because_it_denies_everything() -> None:
    allow = rules(policy("nothing", "ALLOW")).allow
    assert allow is not None
    assert not allow.policies


def test_the_empty_rule_matches_everything() -> None:
    allow = rules(policy("all", "ALLOW", {})).allow
    assert allow is not None
    (made,) = allow.policies.values()
    assert (made.permissions[0].any, made.principals[0].any) == (True, True)


def test_values_are_exact_prefix_suffix_or_present() -> None:
    def path(value: str) -> Any:
        return permission(paths=[value]).url_path.path

    assert path("/a").exact == "/a"
    assert path("/a*").prefix == "/a"
    assert path("*/a").suffix == "/a"
    assert path("*").safe_regex.regex == ".+"
    assert permission(methods=["*"]).header.present_match


def test_hosts_are_compared_without_case_and_methods_with_it() -> None:
    assert permission(hosts=["Web"]).header.string_match.ignore_case
    assert not permission(methods=["GET"]).header.string_match.ignore_case


def test_values_are_or_and_fields_are_and_with_the_cheap_question_first() -> None:
    made = permission(methods=["GET", "PUT"], ports=["80"], notPaths=["/x"])
    port, path, method = made.and_rules.rules
    assert port.destination_port == 80
    assert path.not_rule.url_path.path.exact == "/x"
    assert [each.header.string_match.exact for each in method.or_rules.rules] == ["GET", "PUT"]


def test_a_source_is_the_uri_of_the_certificate() -> None:
    assert principal(principals=["td/ns/a/sa/b"]).authenticated.principal_name.exact == "spiffe://td/ns/a/sa/b"
    assert principal(principals=["td/ns/a/*"]).authenticated.principal_name.prefix == "spiffe://td/ns/a/"
    assert principal(principals=["*"]).authenticated.principal_name.safe_regex.regex == ".+"
    assert principal(notNamespaces=["a"]).not_id.authenticated.principal_name.safe_regex.regex == ".*/ns/a/.*"
    assert len(principal(namespaces=["a", "b"], notPrincipals=["x"]).and_ids.ids) == 2
