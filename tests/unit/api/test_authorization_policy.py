"""AuthorizationPolicy: what is supported is checked, what is not is refused and never ignored."""

from collections.abc import Callable

import pytest

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.manifest import parse_manifest

Told = Callable[[str], list[tuple[str, str]]]
HEAD = "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n"


def spec(text: str) -> str:
    return HEAD + f"spec: {text}\n"


def rule(text: str, action: str = "ALLOW") -> str:
    return spec(f"{{action: {action}, rules: [{text}]}}")


def operation(text: str, action: str = "ALLOW") -> str:
    return rule(f"{{to: [{{operation: {text}}}]}}", action)


def source(text: str) -> str:
    return rule(f"{{from: [{{source: {text}}}]}}")


SOURCE = "spec.rules[0].from[0].source"
OPERATION = "spec.rules[0].to[0].operation"


def test_the_policy_of_the_tutorial_is_right(told: Told) -> None:
    text = """{selector: {matchLabels: {app: web}}, action: ALLOW, rules: [{
      from: [{source: {principals: ["cluster.local/ns/shop/sa/frontend"], notNamespaces: [bank]}}],
      to: [{operation: {methods: [GET, HEAD], paths: [/api/*], notPorts: ["9090"], hosts: ["*.shop"]}}]}]}"""
    assert told(spec(text)) == []


def test_no_spec_no_rules_and_one_empty_rule_are_forms_of_their_own() -> None:
    for text, rules in ((HEAD, 0), (spec("{}"), 0), (spec("{rules: []}"), 0), (spec("{rules: [{}]}"), 1)):
        (found,) = parse_manifest(text, "p.yaml").objects
        assert isinstance(found, AuthorizationPolicy)
        assert len(found.spec.rules) == rules


def test_all_versions_of_the_kind_become_one() -> None:
    (found,) = parse_manifest(HEAD, "p.yaml").objects
    assert found.api_version == "security.istio.io/v1"


@pytest.mark.parametrize("action", ["AUDIT", "CUSTOM"])
def test_other_actions_are_not_supported_yet(told: Told, action: str) -> None:
    assert told(spec(f"{{action: {action}, rules: [{{}}]}}")) == [("HBK0301", "spec.action")]


def test_an_action_that_does_not_exist_is_a_mistake(told: Told) -> None:
    assert told(spec("{action: allow}")) == [("HBK0106", "spec.action")]


@pytest.mark.parametrize("field", ["targetRef: {}", "targetRefs: []", "provider: {name: x}"])
def test_fields_of_the_spec_that_are_not_supported_are_refused_whatever_their_value(told: Told, field: str) -> None:
    assert told(spec(f"{{{field}}}")) == [("HBK0301", f"spec.{field.split(':', maxsplit=1)[0]}")]


def test_conditions_are_refused_also_empty_ones(told: Told) -> None:
    assert told(rule("{when: []}")) == [("HBK0301", "spec.rules[0].when")]


@pytest.mark.parametrize(
    "field",
    [
        *("requestPrincipals", "notRequestPrincipals", "ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"),
        *("trustDomains", "notTrustDomains"),
    ],
)
def test_fields_of_a_source_that_are_not_supported_are_refused(told: Told, field: str) -> None:
    assert ("HBK0301", f"{SOURCE}.{field}") in told(source(f"{{{field}: ['*']}}"))


@pytest.mark.parametrize("path", ["/a/{*}", "/a/{**}", "/{x}", "/a}"])
def test_path_templates_are_refused(told: Told, path: str) -> None:
    assert told(operation(f"{{paths: ['{path}']}}")) == [("HBK0301", f"{OPERATION}.paths[0]")]


def test_a_dry_run_is_refused_and_a_false_one_is_none(told: Told) -> None:
    annotated = HEAD.replace("namespace: shop", "namespace: shop, annotations: {istio.io/dry-run: '%s'}")
    assert told(annotated % "true") == [("HBK0301", "metadata.annotations['istio.io/dry-run']")]
    assert told(annotated % "false") == []
    assert told(annotated % "maybe") == [("HBK0110", "metadata.annotations['istio.io/dry-run']")]


def test_deny_without_rules_is_meaningless(told: Told) -> None:
    assert told(spec("{action: DENY}")) == [("HBK0303", "spec.rules")]
    assert told(spec("{action: DENY, rules: [{}]}")) == []


def test_empty_parts_are_refused(told: Told) -> None:
    assert told(rule("{from: []}")) == [("HBK0302", "spec.rules[0].from")]
    assert told(rule("{to: []}")) == [("HBK0302", "spec.rules[0].to")]
    assert told(rule("{from: [{}]}")) == [("HBK0105", "spec.rules[0].from[0].source")]
    assert told(source("{}")) == [("HBK0302", SOURCE)]
    assert told(source("{principals: []}")) == [("HBK0302", SOURCE)]
    assert told(operation("{}")) == [("HBK0302", OPERATION)]
    assert told(operation("{methods: ['']}")) == [("HBK0302", f"{OPERATION}.methods[0]")]
    assert told(rule("null")) == [("HBK0104", "spec.rules[0]")]


@pytest.mark.parametrize("port", ["http", "80-90", "65536", "-1", "+1", "٣"])
def test_ports_are_numbers_without_ranges(told: Told, port: str) -> None:
    assert told(operation(f"{{ports: ['{port}']}}")) == [("HBK0107", f"{OPERATION}.ports[0]")]


def test_ports_are_written_as_texts_as_in_istio(told: Told) -> None:
    assert told(operation("{ports: [80]}")) == [("HBK0104", f"{OPERATION}.ports[0]")]


@pytest.mark.parametrize("account", ["a/b/c", "/a", "a/", "*", "shop/*", "a" * 321])
def test_an_account_is_a_name_or_a_namespace_and_a_name(told: Told, account: str) -> None:
    assert told(source(f"{{serviceAccounts: ['{account}']}}")) == [("HBK0110", f"{SOURCE}.serviceAccounts[0]")]


def test_accounts_exclude_principals_and_namespaces(told: Told) -> None:
    assert told(source("{serviceAccounts: [a], notNamespaces: [b]}")) == [("HBK0113", f"{SOURCE}.serviceAccounts")]


def test_limits_are_those_of_istio(told: Told) -> None:
    accounts = ", ".join(f"a{number}" for number in range(17))
    assert told(source(f"{{serviceAccounts: [{accounts}]}}")) == [("HBK0307", f"{SOURCE}.serviceAccounts")]
    assert told(spec(f"{{rules: [{', '.join(['{}'] * 513)}]}}")) == [("HBK0307", "spec.rules")]
    sources = ", ".join(["{source: {namespaces: [a]}}"] * 513)
    assert told(rule(f"{{from: [{sources}]}}")) == [("HBK0307", "spec.rules[0].from")]


def test_a_deny_rule_that_would_deny_all_tcp_is_warned_of(told: Told) -> None:
    assert told(operation("{methods: [GET]}", "DENY")) == [("HBK0304", OPERATION)]
    assert told(operation("{methods: [GET], ports: ['80']}", "DENY")) == []
    assert told(operation("{methods: [GET]}", "ALLOW")) == []


def test_values_that_cannot_mean_what_they_look_like_are_warned_of(told: Told) -> None:
    assert told(source("{principals: ['spiffe://cluster.local/ns/a/sa/b']}")) == [("HBK0305", f"{SOURCE}.principals[0]")]
    assert told(operation("{paths: ['/a/*/b']}")) == [("HBK0306", f"{OPERATION}.paths[0]")]


def test_an_unknown_field_is_refused_with_the_near_name() -> None:
    (problem,) = parse_manifest(operation("{method: [GET]}"), "p.yaml").problems[:1]
    assert (problem.code, problem.remedy, problem.line) == ("HBK0103", "did you mean methods?", 4)


def test_selectors_know_labels_only(told: Told) -> None:
    assert told(spec("{selector: {matchExpressions: []}}")) == [("HBK0301", "spec.selector.matchExpressions")]
    assert told(spec("{selector: {matchLabels: {app: '*'}}}")) == [("HBK0111", "spec.selector.matchLabels.app")]
