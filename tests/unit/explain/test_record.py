from typing import Any

import pytest
from tests.unit.explain.meshes import ORDERS, POLICY, mesh

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
