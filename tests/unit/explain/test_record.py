from typing import Any

import pytest
from tests.unit.explain.meshes import AUTHORIZER, ORDERS, POLICY, ask, layer, mesh

from hauberk.explain.question import Unanswerable
from hauberk.explain.record import explain_record, question_of, told_by_record


def record(**decision: Any) -> dict[str, Any]:
    return {
        "time": "2026-07-01T12:00:00.000Z",
        "source": {"identity": "spiffe://cluster.local/ns/shop/sa/frontend", "address": "10.0.0.9"},
        "destination": {"pod": "orders", "namespace": "shop", "service": "orders.shop.svc.cluster.local", "port": 80},
        "method": "POST",
        "path": "/orders/17",
        "authority": "orders",
        "status": 403 if decision.get("verdict") == "deny" else 200,
        "decision": {"policy": None, "rule": None, "reason": None, "dryRun": None, "audit": [], **decision},
        "reporter": "destination",
    }


def test_what_the_record_does_not_hold_is_unknown_and_the_verdict_is_the_record_s() -> None:
    snapshot, _ = mesh(ORDERS, POLICY)
    found = explain_record(snapshot, record(verdict="allow", policy="shop/orders-write", rule="2"))
    assert found.answer.verdict == "allow"
    assert "shop/orders-write, rule 2" in found.answer.reason
    assert [each.outcome for each in found.answer.policies[0].rules] == ["failed", "failed", "matched"]


def test_where_no_rule_matched_one_about_a_token_did_not_either() -> None:
    snapshot, _ = mesh(ORDERS, POLICY)
    line = explain_record(snapshot, record(verdict="deny", reason="no ALLOW rule matched")).answer.policies[0]
    assert [each.outcome for each in line.rules] == ["failed", "failed", "failed"]
    assert (line.matched, line.rules[2].note) == (False, "it did not match, or it would have decided")


def test_a_rule_about_a_token_after_the_one_that_decided_may_have_matched_or_not() -> None:
    snapshot, _ = mesh(
        ORDERS, POLICY, POLICY.replace("name: orders-write", "name: later"), POLICY.replace("name: orders-write", "name: zzz")
    )
    found = explain_record(snapshot, record(verdict="allow", policy="shop/orders-write", rule="2"))
    by_policy = {each.policy: each for each in found.answer.policies}
    assert (by_policy["shop/later"].matched, by_policy["shop/zzz"].matched) == (False, None)
    clause = by_policy["shop/zzz"].rules[2].failed[0]
    assert clause.text == "claim `groups` is not in the record; needs [writer]"
    assert "neither headers nor tokens" in found.warnings[0]


def test_what_would_have_refused_on_trial_is_told_where_it_was_no_rule() -> None:
    snapshot, _ = mesh(ORDERS)
    tried = {"verdict": "deny", "policy": None, "rule": None, "reason": "ambiguous path"}
    found = explain_record(snapshot, record(verdict="allow", dryRun=tried)).answer.dry_run
    assert found is not None
    assert found.to_json() == tried


def test_a_policy_that_is_gone_is_still_named() -> None:
    snapshot, _ = mesh(ORDERS)
    found = explain_record(snapshot, record(verdict="deny", policy="shop/gone", rule="0"))
    assert "shop/gone" in found.answer.reason
    assert "shop/gone decided" in found.warnings[0]


@pytest.mark.parametrize(
    ("reason", "refusing"),
    [
        ("token refused: Jwt is expired", "jwt"),
        ("rate limit", "rateLimit"),
        ("no mutual TLS", "mtls"),
        ("external authorization", "custom"),
    ],
)
def test_the_layer_that_refused_is_the_record_s(reason: str, refusing: str) -> None:
    snapshot, _ = mesh(ORDERS, POLICY)
    found = explain_record(snapshot, record(verdict="deny", reason=reason))
    assert [each.name for each in found.answer.layers if each.outcome == "deny"] == [refusing]


def test_the_port_of_the_service_is_the_workload_s_own() -> None:
    snapshot, _ = mesh(ORDERS)
    assert question_of(record(), snapshot).port == 8080


def test_a_record_of_a_destination_outside_of_the_mesh_tells_no_decision() -> None:
    snapshot, _ = mesh(ORDERS)
    asked = {**record(verdict="allow"), "destination": {"address": "192.0.2.1"}}
    with pytest.raises(Unanswerable):
        explain_record(snapshot, asked)
    assert told_by_record(asked).answer.verdict == "allow"


@pytest.mark.parametrize(
    ("service", "told", "named"),
    [
        ("orders.shop.svc.cluster.local", "orders.shop:80 led to port 8080 of pod orders", "orders.shop"),
        ("gone.shop.svc.cluster.local", "gone.shop.svc.cluster.local:80 led to port 80 of pod orders", "gone.shop.svc.cluster.local"),
        (None, "it came to port 80 of pod orders", None),
    ],
)
def test_the_way_is_that_of_the_record(service: str | None, told: str, named: str | None) -> None:
    snapshot, _ = mesh(ORDERS)
    asked = record(verdict="allow")
    found = explain_record(snapshot, {**asked, "destination": {**asked["destination"], "service": service}})
    assert (layer(found, "route").because, found.route["service"]) == (told, named)


LIMITS = """
apiVersion: policy.hauberk.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: rl, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  limits:
  - {name: reads, requests: 9, per: minute, match: {methods: [GET]}}
  - {name: writes, requests: 3, per: minute, match: {methods: [POST], headers: [{name: x-tenant, values: [acme]}]}}
"""


def test_the_limit_that_refused_is_named_with_what_would_have_helped() -> None:
    snapshot, _ = mesh(ORDERS, LIMITS)
    found = explain_record(snapshot, record(verdict="deny", policy="shop/rl", reason="rate limit"))
    assert found.answer.reason == "by RateLimitPolicy shop/rl `writes` (3 in 60 s and instance)"
    assert found.answer.smallest_change[0] == "raise spec.limits[1].requests of RateLimitPolicy shop/rl"
    assert layer(found, "rateLimit").outcome == "deny"


@pytest.mark.parametrize(("policy", "reason"), [("shop/rl", "by RateLimitPolicy shop/rl"), (None, "rate limit")])
def test_of_a_limit_that_is_gone_the_policy_is_named_if_the_record_does(policy: str | None, reason: str) -> None:
    snapshot, _ = mesh(ORDERS)
    found = explain_record(snapshot, record(verdict="deny", policy=policy, reason="rate limit"))
    assert found.answer.reason == reason


CUSTOM = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: nobody}, rules: [{to: [{operation: {methods: [GET]}}]}]}
"""


def test_who_could_not_be_asked_is_told_as_it_was_predicted() -> None:
    asked = {"to": "orders.shop", "source": "shop/frontend", "method": "GET", "path": "/"}
    predicted = ask(ORDERS, CUSTOM, **asked)
    snapshot, _ = mesh(ORDERS, CUSTOM)
    happened = record(verdict="deny", policy="shop/ask", rule="0", reason="no external authorizer can be asked")
    found = explain_record(snapshot, {**happened, "method": "GET"})
    assert found.answer.reason == predicted.answer.reason
    assert "there is no extension provider nobody" in found.answer.reason
    assert layer(found, "custom") == layer(predicted, "custom")


def test_whoever_was_refused_for_a_token_had_passed_the_external_service() -> None:
    snapshot, _ = mesh(ORDERS, AUTHORIZER, CUSTOM.replace("GET", "POST").replace("nobody", "ask"))
    found = explain_record(snapshot, record(verdict="deny", reason="token refused: Jwt is expired"))
    assert [(each.name, each.outcome) for each in found.answer.layers[3:5]] == [("custom", "pass"), ("jwt", "deny")]


def test_what_would_have_refused_it_is_no_change_for_what_was_refused_otherwise() -> None:
    snapshot, _ = mesh(ORDERS, POLICY)
    found = explain_record(snapshot, {**record(verdict="deny", reason="token refused: Jwt is expired"), "method": "GET"})
    assert found.answer.smallest_change == ()
