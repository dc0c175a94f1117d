import json

import pytest
from tests.unit.explain.meshes import AUTHORIZER, CUSTOM, ORDERS, POLICY, ask, layer

from hauberk.explain.explain import LAYERS
from hauberk.explain.question import Unanswerable

PERMISSIVE = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: PERMISSIVE}}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s, namespace: shop}
spec:
  selector: {matchLabels: {app: orders, version: %(version)s}}
  template:
    metadata: {labels: {app: orders, version: %(version)s}}
    spec: {containers: [{name: app, command: [serve]}]}
"""
POST = {"source": "shop/frontend", "to": "orders.shop", "method": "POST", "path": "/orders/17"}


def test_what_denied_is_told_with_the_nearest_rule_and_its_line() -> None:
    found = ask(ORDERS, POLICY, **POST, claims={"groups": ["reader"]})
    assert (found.answer.verdict, found.answer.status, found.answer.decider) == ("deny", 403, None)
    assert "shop/orders-write, rule 2: claim `groups` has [reader]; needs [writer]" in found.answer.reason
    clause = found.answer.policies[0].rules[2].failed[0]
    assert str(clause.place) == "shop.yaml:26"


def test_the_rule_that_allows_is_named() -> None:
    found = ask(ORDERS, POLICY, **POST, claims={"groups": ["writer"]})
    decider = found.answer.decider
    assert decider is not None
    assert (found.answer.verdict, decider.policy, decider.rule) == ("allow", "shop/orders-write", 2)
    assert found.to_json()["decidedBy"] == {"policy": "shop/orders-write", "rule": "2", "file": "shop.yaml", "line": 23}


def test_every_layer_is_told_of_in_order() -> None:
    for question in (POST, {"to": "orders.shop"}):
        found = ask(ORDERS, POLICY, **question)
        assert tuple(each.name for each in found.answer.layers) == LAYERS


def test_a_caller_without_identity_does_not_get_past_strict() -> None:
    found = ask(ORDERS, to="orders.shop", path="/")
    assert (found.answer.verdict, found.answer.status) == ("deny", None)
    assert "plaintext" in layer(found, "mtls").because
    assert layer(found, "authorization").outcome == "skipped"


def test_a_caller_without_identity_is_judged_without_one_where_plaintext_is_let_in() -> None:
    found = ask(ORDERS, POLICY, PERMISSIVE, to="orders.shop", method="POST", path="/")
    assert found.answer.policies[0].rules[0].failed[0].text.startswith("the caller has no identity")


def test_a_foreign_trust_domain_is_not_believed() -> None:
    found = ask(ORDERS, **POST, fromTrustDomain="partner.org")
    assert (found.answer.verdict, layer(found, "mtls").outcome) == ("deny", "deny")


def test_a_service_without_workloads_in_the_files_is_given_one() -> None:
    assert ask(ORDERS, **POST).answer.workloads == ("orders",)


def test_workloads_behind_one_service_that_differ_are_told_apart() -> None:
    only_one = POLICY.replace("app: orders}}", "app: orders, version: v2}}")
    old, new = (DEPLOYMENT % {"name": f"orders-{each}", "version": each} for each in ("v1", "v2"))
    found = ask(ORDERS, old, new, only_one, **POST)
    assert found.differs
    assert [(each.workloads, each.verdict) for each in found.answers] == [(("orders-v2",), "deny"), (("orders-v1",), "allow")]


def test_workloads_that_are_alike_are_one_answer() -> None:
    old, new = (DEPLOYMENT % {"name": f"orders-{each}", "version": each} for each in ("v1", "v2"))
    assert [each.workloads for each in ask(ORDERS, old, new, POLICY, **POST).answers] == [("orders-v1", "orders-v2")]


def test_a_connection_of_bytes_matches_no_allow_rule_about_http() -> None:
    found = ask(ORDERS, POLICY, source="shop/frontend", to="orders.shop", port=9000)
    assert (found.answer.verdict, found.answer.status) == ("deny", None)
    assert [each.outcome for each in found.answer.policies[0].rules] == ["failed", "dropped", "dropped"]


def test_a_request_on_a_port_of_bytes_is_a_connection_and_that_is_said() -> None:
    found = ask(ORDERS, **POST, port=9000)
    assert "bytes" in found.warnings[0]


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("CONNECT", "/", 404, "CONNECT leads nowhere"),
        ("OPTIONS", "*", 404, "the path * leads nowhere"),
        ("GET", "orders", 400, "the path orders does not begin with a slash"),
    ],
)
def test_what_sidecars_never_pass_is_refused_before_policies(method: str, path: str, status: int, said: str) -> None:
    found = ask(ORDERS, to="orders.shop", source="shop/frontend", method=method, path=path)
    assert (found.answer.verdict, found.answer.status) == ("deny", status)
    assert said in layer(found, "route").because
    assert layer(found, "authorization").outcome == "skipped"


def test_a_dry_run_policy_only_tells_what_would_be() -> None:
    dry = POLICY.replace("namespace: shop}", 'namespace: shop, annotations: {istio.io/dry-run: "true"}}')
    found = ask(ORDERS, dry, **POST)
    assert found.answer.verdict == "allow"
    assert found.answer.dry_run is not None
    assert found.answer.dry_run.verdict == "deny"


@pytest.mark.parametrize(
    ("name", "policy", "told"),
    [
        ("x_tenant", "action: DENY", True),
        ("x-tenant", "action: DENY", False),
        ("xtenant", "action: DENY", False),
        ("x_tenant", "action: AUDIT", False),
    ],
)
def test_a_header_that_is_taken_away_is_told(name: str, policy: str, told: bool) -> None:
    rules = 'rules: [{when: [{key: "request.headers[x-tenant]", values: [acme]}]}]'
    about = f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: tenants, namespace: shop}}
spec: {{{policy}, {rules}}}
"""
    warnings = ask(ORDERS, about, **POST, headers={name: "acme"}).warnings
    expected = ("header x_tenant is taken away: a program may take it for x-tenant, by which policies decide",)
    assert warnings == (expected if told else ())


def test_what_would_refuse_on_trial_is_told_where_it_is_no_rule() -> None:
    admin = POLICY.replace("methods: [GET]", "paths: [/admin]")
    dry = admin.replace("namespace: shop}", 'namespace: shop, annotations: {istio.io/dry-run: "true"}}')
    tried = ask(ORDERS, dry, to="orders.shop", source="shop/frontend", method="GET", path="/x%2fadmin").answer.dry_run
    assert tried is not None
    assert (tried.verdict, tried.decider) == ("deny", None)
    assert tried.reason == "the path can be read in more than one way, and policies ask about paths"


def test_a_custom_policy_leaves_the_answer_of_the_service_open() -> None:
    found = ask(ORDERS, AUTHORIZER, CUSTOM % "ask", **POST)
    assert layer(found, "custom").outcome == "unknown"
    assert (found.answer.verdict, found.answer.reason) == (
        "allow",
        "if the external service ask agrees; no ALLOW policy selects the workload",
    )
    assert layer(found, "authorization").because == "no ALLOW policy selects the workload"
    refused = ask(ORDERS, AUTHORIZER, CUSTOM % "ask", POLICY, **POST).answer
    assert refused.reason.endswith("(if the external service ask, which is asked before, refuses, its answer is the caller's)")
    assert layer(ask(ORDERS, AUTHORIZER, CUSTOM % "ask", **{**POST, "method": "GET"}), "custom").outcome == "none"


def test_what_nobody_can_be_asked_about_is_refused_before_the_token_is_looked_at() -> None:
    nobody = ask(ORDERS, AUTHORIZER, CUSTOM % "nobody", **POST)
    assert [each.outcome for each in nobody.answer.layers[3:]] == ["deny", "skipped", "skipped", "skipped"]
    assert "there is no extension provider nobody" in nobody.answer.reason
    bytes_ = ask(ORDERS, AUTHORIZER, CUSTOM % "ask", source="shop/frontend", to="orders.shop", port=9000)
    assert "no external service is asked about a connection of bytes" in bytes_.answer.reason


def test_settings_of_the_mesh_count() -> None:
    settings = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "trustDomain: shop.example"}
"""
    found = ask(ORDERS, settings, POLICY, **POST)
    assert "spiffe://shop.example/ns/shop/sa/frontend" in layer(found, "mtls").because


def test_of_two_policies_about_mutual_tls_the_older_counts() -> None:
    older, younger = (
        PERMISSIVE.replace("name: default", f"name: {name}")
        .replace("namespace: istio-system", f"namespace: shop, creationTimestamp: '2026-0{month}-01T00:00:00Z'")
        .replace("PERMISSIVE", mode)
        for name, month, mode in (("z", 1, "PERMISSIVE"), ("a", 2, "STRICT"))
    )
    assert ask(ORDERS, older, younger, to="orders.shop", path="/").answer.verdict == "allow"


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"to": "ordrs.shop"}, "no service or pod 'ordrs'"),
        ({"to": "orders.shop", "port": 81}, "has no port 81"),
        ({"to": "orders.shop", "source": "nobody"}, "is no pod"),
        ({"to": "orders.shop", "source": "shop/"}, "is no service account"),
        ({}, "nobody is called"),
        ({"labels": {"app": "x"}}, "no workload"),
    ],
)
def test_what_cannot_be_answered_is_said(question: dict[str, object], said: str) -> None:
    with pytest.raises(Unanswerable, match=said):
        ask(ORDERS, POLICY, **question)


def test_the_document_has_the_promised_fields() -> None:
    document = ask(ORDERS, POLICY, **POST).to_json()
    assert {"verdict", "reason", "decidedBy", "layers", "policies", "route", "smallestChange"} <= document.keys()
    assert set(document["layers"][0]) == {"name", "outcome", "because"}
    assert {"policy", "action", "matched", "failedClause", "dryRun"} <= document["policies"][0].keys()
    assert json.loads(json.dumps(document)) == document


def test_limits_that_count_the_request_are_told() -> None:
    limits = """
apiVersion: policy.hauberk.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: writes, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: orders}]
  limits: [{name: few, requests: 10, per: minute, by: [source.principal], match: {methods: [POST], notPaths: [/free*]}}]
"""
    counted = layer(ask(ORDERS, limits, **POST), "rateLimit")
    assert counted.outcome == "pass"
    assert "shop/writes `few` (10 in 60 s and instance, a bucket for each source.principal)" in counted.because
    assert layer(ask(ORDERS, limits, **{**POST, "path": "/free/1"}), "rateLimit").outcome == "none"
    assert "can be read in more than one way" in layer(ask(ORDERS, limits, **{**POST, "path": "//free/1"}), "authorization").because


def test_addresses_that_files_do_not_tell_are_not_made_up() -> None:
    policy = POLICY.replace("principals: [cluster.local/ns/shop/sa/admin]", "ipBlocks: [198.18.0.0/15, 10.0.0.0/8]")
    put = {**POST, "method": "PUT"}
    found = ask(ORDERS, policy, **put)
    assert (found.answer.verdict, "addresses" in found.warnings[0]) == ("deny", True)
    told = ask(ORDERS, policy, **put, fromAddress="10.1.2.3")
    assert (told.answer.verdict, told.warnings) == ("allow", ())


def test_the_server_name_of_a_sidecar_is_known() -> None:
    policy = POLICY.replace("methods: [GET]", "paths: [/]").split("  - to:")[0].split("  - from:")[0]
    policy += '  - when: [{key: connection.sni, values: ["outbound_.80_._.orders.shop.svc.cluster.local"]}]'
    assert ask(ORDERS, policy, **POST).answer.verdict == "allow"
    assert ask(ORDERS, policy, source="shop/frontend", to="orders.shop", port=9000).answer.verdict == "deny"


def test_the_smallest_change_says_where_it_would_be_written() -> None:
    found = ask(ORDERS, POLICY, **POST, claims={"groups": ["reader"]})
    first, second, _ = found.answer.smallest_change
    assert first == 'add "reader" at spec.rules[2].when[0].values of shop/orders-write (shop.yaml:26)'
    assert second == "a request with claim groups writer"


def test_among_many_policies_the_change_is_looked_for_near() -> None:
    far = (POLICY.replace("orders-write", f"far-{number}").replace("methods: [", "paths: [/far], methods: [PUT, ") for number in range(50))
    found = ask(ORDERS, POLICY, *far, **POST, claims={"groups": ["reader"]})
    assert 'add "reader" at spec.rules[2].when[0].values of shop/orders-write (shop.yaml:26)' in found.answer.smallest_change
    assert not any(each.startswith("a request") for each in found.answer.smallest_change)
