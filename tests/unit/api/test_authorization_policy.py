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


def test_audit_is_an_action_and_custom_is_one_with_a_provider(told: Told) -> None:
    assert told(spec("{action: AUDIT, rules: [{}]}")) == []
    assert told(spec("{action: CUSTOM, provider: {name: opa}, rules: [{}]}")) == []
    assert told(spec("{action: CUSTOM, rules: [{}]}")) == [("HBK0315", "spec.provider")]
    assert told(spec("{action: CUSTOM, provider: {name: ''}, rules: [{}]}")) == [("HBK0315", "spec.provider")]
    assert told(spec("{action: DENY, provider: {name: opa}, rules: [{}]}")) == [("HBK0315", "spec.provider")]


def test_an_action_that_does_not_exist_is_a_mistake(told: Told) -> None:
    assert told(spec("{action: allow}")) == [("HBK0106", "spec.action")]


def test_a_policy_with_targets_is_right_and_no_sidecar_enforces_it(told: Told) -> None:
    target = "{group: gateway.networking.k8s.io, kind: Gateway, name: front}"
    assert told(spec(f"{{targetRefs: [{target}]}}")) == [("HBK0312", "spec.targetRefs")]
    assert told(spec(f"{{targetRef: {target}}}")) == [("HBK0312", "spec.targetRef")]
    assert told(spec("{targetRefs: [{kind: Service, name: web, namespace: shop}]}")) == [("HBK0312", "spec.targetRefs")]


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        ("targetRefs: [{kind: Pod, name: web}]", ("HBK0106", "spec.targetRefs[0].kind")),
        ("targetRefs: [{kind: Gateway, name: web}]", ("HBK0106", "spec.targetRefs[0].group")),
        ("targetRefs: [{kind: Service, name: web, namespace: bank}]", ("HBK0113", "spec.targetRefs[0].namespace")),
        ("targetRefs: [{kind: Service, name: ''}]", ("HBK0108", "spec.targetRefs[0].name")),
        ("targetRef: {kind: Pod, name: web}", ("HBK0106", "spec.targetRef.kind")),
        ("targetRefs: [{kind: Service, name: web}], selector: {matchLabels: {app: web}}", ("HBK0113", "spec.targetRefs")),
        ("targetRefs: [{kind: Service, name: web}], targetRef: {kind: Service, name: web}", ("HBK0113", "spec.targetRef")),
        (f"targetRefs: [{', '.join(['{kind: Service, name: web}'] * 17)}]", ("HBK0307", "spec.targetRefs")),
    ],
)
def test_a_target_is_one_of_four_kinds_in_the_namespace_of_the_policy(told: Told, targets: str, problem: tuple[str, str]) -> None:
    assert problem in told(spec(f"{{{targets}}}"))


@pytest.mark.parametrize("path", ["/a/{*}", "/a/{**}", "/{*}/b/{**}/c", "/{**}", "/a/{*}/"])
def test_path_templates_are_right(told: Told, path: str) -> None:
    assert told(operation(f"{{paths: ['{path}'], notPaths: ['{path}']}}")) == []


@pytest.mark.parametrize(
    "path", ["/{x}", "/a}", "/a{*}", "/{**}/{*}", "/{**}/{**}", "/{*}/b*", "a/{*}", "/a//{*}", "/{*}/ä", "/{*}?x", "/{*}" * 17]
)
def test_path_templates_that_are_none_are_refused(told: Told, path: str) -> None:
    assert told(operation(f"{{paths: ['{path}']}}")) == [("HBK0314", f"{OPERATION}.paths[0]")]


def test_a_dry_run_is_for_allow_and_deny(told: Told) -> None:
    annotated = HEAD.replace("namespace: shop", "namespace: shop, annotations: {istio.io/dry-run: '%s'}")
    at = "metadata.annotations['istio.io/dry-run']"
    assert told(annotated % "true") == []
    assert told(annotated % "false" + "spec: {action: AUDIT, rules: [{}]}") == []
    assert told(annotated % "maybe") == [("HBK0110", at)]
    assert told(annotated % "true" + "spec: {action: AUDIT, rules: [{}]}") == [("HBK0308", at)]
    assert told(annotated % "true" + "spec: {action: CUSTOM, provider: {name: x}, rules: [{}]}") == [("HBK0308", at)]


def test_deny_without_rules_is_meaningless(told: Told) -> None:
    assert told(spec("{action: DENY}")) == [("HBK0303", "spec.rules")]
    assert told(spec("{action: CUSTOM, provider: {name: x}}")) == [("HBK0303", "spec.rules")]
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


def test_values_that_cannot_mean_what_they_look_like_are_warned_of(told: Told) -> None:
    assert told(source("{principals: ['spiffe://cluster.local/ns/a/sa/b']}")) == [("HBK0305", f"{SOURCE}.principals[0]")]
    assert told(source("{namespaces: [a/b]}")) == [("HBK0305", f"{SOURCE}.namespaces[0]")]
    assert told(source("{requestPrincipals: [alice]}")) == [("HBK0305", f"{SOURCE}.requestPrincipals[0]")]
    assert told(operation("{paths: ['/a/*/b']}")) == [("HBK0306", f"{OPERATION}.paths[0]")]
    assert told(operation("{hosts: ['*.shop.*']}")) == [("HBK0306", f"{OPERATION}.hosts[0]")]
    assert told(source("{ipBlocks: [10.1.2.3/8]}")) == [("HBK0313", f"{SOURCE}.ipBlocks[0]")]


def test_every_field_of_a_source_is_known(told: Told) -> None:
    text = """{principals: ['*'], requestPrincipals: ['https://idp.example/*', 'alice@*', '*'], namespaces: ['a*b'],
               trustDomains: [cluster.local, '*.example'], ipBlocks: [10.0.0.0/8, 192.0.2.1], remoteIpBlocks: ['2001:db8::/32']}"""
    assert told(source(text)) == []
    assert told(source(text.replace("{p", "{notP").replace(" r", " notR").replace(" t", " notT").replace(" i", " notI"))) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *(
            ("ipBlocks: [10.0.0.0/33]", "HBK0110"),
            ("notIpBlocks: [example]", "HBK0110"),
            ("remoteIpBlocks: [10.0.0.0/255.0.0.0]", "HBK0110"),
        ),
        *(("remoteIpBlocks: ['fe80::1%eth0']", "HBK0110"), ("trustDomains: [a/b]", "HBK0110"), ("trustDomains: ['*a*']", "HBK0110")),
        *(("namespaces: ['*a*b*c*d*e*f*g*h*i']", "HBK0307"), ('principals: ["a\\nb"]', "HBK0110")),
        (f"principals: ['{'a' * 5000}']", "HBK0307"),
    ],
)
def test_values_without_the_form_of_their_field_are_refused(told: Told, text: str, code: str) -> None:
    assert told(source(f"{{{text}}}")) == [(code, f"{SOURCE}.{text.partition(':')[0]}[0]")]


def test_custom_cannot_ask_who_calls(told: Told) -> None:
    head = "{action: CUSTOM, provider: {name: x}, rules: [%s]}"
    ports = "to: [{operation: {ports: ['80']}}]"
    for field in ("principals", "notNamespaces", "serviceAccounts", "requestPrincipals", "notTrustDomains"):
        assert told(spec(head % f"{{from: [{{source: {{{field}: [a/b]}}}}], {ports}}}"))[-1] == ("HBK0311", f"{SOURCE}.{field}")
    assert told(spec(head % f"{{from: [{{source: {{ipBlocks: [10.0.0.0/8]}}}}], {ports}}}")) == []
    for key in ("source.principal", "source.namespace", "request.auth.principal", "'request.auth.claims[a]'"):
        assert told(spec(head % f"{{when: [{{key: {key}, values: [a/b]}}], {ports}}}"))[-1] == ("HBK0311", "spec.rules[0].when[0].key")


def test_an_unknown_field_is_refused_with_the_near_name() -> None:
    (problem,) = parse_manifest(operation("{method: [GET]}"), "p.yaml").problems[:1]
    assert (problem.code, problem.remedy, problem.line) == ("HBK0103", "did you mean methods?", 4)


def test_selectors_know_labels_only(told: Told) -> None:
    assert told(spec("{selector: {matchExpressions: []}}")) == [("HBK0301", "spec.selector.matchExpressions")]
    assert told(spec("{selector: {matchLabels: {app: '*'}}}")) == [("HBK0111", "spec.selector.matchLabels.app")]


CONDITION = "spec.rules[0].when[0]"


def condition(text: str) -> str:
    return rule(f"{{when: [{text}]}}")


@pytest.mark.parametrize(
    "text",
    [
        *("key: 'request.headers[X-Token]', values: ['*']", "key: source.ip, notValues: [10.0.0.0/8]", "key: remote.ip, values: ['::1']"),
        *("key: source.namespace, values: [a]", "key: source.serviceAccount, values: [a/b]", "key: source.principal, values: ['*']"),
        *("key: source.trustDomain, values: ['*']", "key: request.auth.principal, values: ['a/b']", "key: connection.sni, values: [a]"),
        *(
            "key: request.auth.audiences, values: [a]",
            "key: request.auth.presenter, values: [a]",
            "key: destination.ip, values: [10.0.0.1]",
        ),
        *("key: 'request.auth.claims[a.b]', values: [a]", "key: 'request.auth.claims[a][b]', values: [a], notValues: [b]"),
        *("key: destination.port, values: ['0']", "key: 'experimental.envoy.filters.network.mysql_proxy[db.table]', values: ['[a]', b]"),
    ],
)
def test_every_key_of_a_condition_is_known(told: Told, text: str) -> None:
    assert told(condition(f"{{{text}}}")) == []


@pytest.mark.parametrize(
    "key",
    [
        *(
            "request.headers",
            "'request.headers[]'",
            "'request.headers[a b]'",
            "'request.headers[a][b]'",
            "request.auth.claims",
            "source.user",
        ),
        *("'request.auth.claims[]'", "'request.auth.claims[a'", "'destination.labels[app]'", "destination.user", "''", "a" * 2000),
        *("experimental.envoy.filters.a", "'experimental.envoy.filters[a]'", "'experimental.envoy.filters.a[]'"),
        "'request.auth.claims" + "[a]" * 17 + "'",
    ],
)
def test_a_key_that_names_nothing_is_refused(told: Told, key: str) -> None:
    assert told(condition(f"{{key: {key}, values: [a]}}")) == [("HBK0309", f"{CONDITION}.key")]


def test_a_near_key_is_named() -> None:
    problem = parse_manifest(condition("{key: source.namespaces, values: [a]}"), "p.yaml").problems[0]
    assert problem.remedy == "did you mean source.namespace?"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{key: source.ip}", ("HBK0302", CONDITION)),
        ("{key: source.ip, values: ['']}", ("HBK0302", f"{CONDITION}.values[0]")),
        ("{key: source.ip, notValues: [a]}", ("HBK0110", f"{CONDITION}.notValues[0]")),
        ("{key: destination.port, values: [http]}", ("HBK0107", f"{CONDITION}.values[0]")),
        ("{key: source.principal, values: ['spiffe://a']}", ("HBK0305", f"{CONDITION}.values[0]")),
        ("{key: 'experimental.envoy.filters.a[b]', values: ['[]']}", ("HBK0302", f"{CONDITION}.values[0]")),
    ],
)
def test_a_condition_needs_values_of_the_form_of_its_key(told: Told, text: str, problem: tuple[str, str]) -> None:
    assert told(condition(text)) == [problem]
