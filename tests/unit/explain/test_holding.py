"""Where sidecars do not hold what policy says, nothing is foretold."""

from dataclasses import replace
from typing import Any

from tests.unit.explain.meshes import ORDERS, POLICY, ask

from hauberk.explain.explanation import Explanation
from hauberk.explain.holding import doubted, doubts_of

BROKEN = """
apiVersion: v1
kind: Service
metadata: {name: broken, namespace: shop}
spec: {selector: {app: orders}, ports: [{name: http, port: 80, targetPort: absent}]}
"""
REFUSED = {"resource": "TypedExtensionConfig/tokens", "object": "", "message": "value must contain at least 2 items"}


def proxy(pod: str, **more: Any) -> dict[str, Any]:
    return {"pod": pod, "namespace": "shop", "connected": True, "synced": True, "rejected": [], **more}


def predicted(method: str, **more: Any) -> Explanation:
    found = ask(ORDERS, POLICY, source="shop/frontend", to="orders.shop", method=method, path="/")
    (pod,) = found.answer.workloads
    return doubted(found, doubts_of(found, [proxy(pod, **more), proxy("another", rejected=[REFUSED])]))


def test_what_a_sidecar_holds_it_does() -> None:
    assert predicted("POST") == ask(ORDERS, POLICY, source="shop/frontend", to="orders.shop", method="POST", path="/")


def test_what_a_sidecar_does_that_has_refused_a_part_is_not_known() -> None:
    for method, policy in (("POST", "policy says deny 403 ("), ("GET", "policy says allow (")):
        found = predicted(method, rejected=[REFUSED])
        assert (found.answer.verdict, found.answer.word, found.answer.status) == ("unknown", "unknown", None)
        assert found.answer.reason.startswith(policy)
        assert found.answer.reason.endswith("has refused TypedExtensionConfig/tokens: value must contain at least 2 items")
        outcomes = {each.name: each.outcome.value for each in found.answer.layers}
        assert (outcomes["route"], outcomes["mtls"], outcomes["authorization"]) == ("pass", "unknown", "unknown")
        assert "has refused TypedExtensionConfig/tokens" in found.warnings[-1]


def test_what_a_sidecar_does_that_has_not_answered_or_is_away_is_not_known() -> None:
    assert "has not acknowledged yet" in predicted("GET", synced=False).answer.reason
    assert "is not connected" in predicted("GET", connected=False, synced=False).answer.reason


def test_of_workloads_that_are_alike_only_the_doubtful_ones_are_unknown() -> None:
    found = predicted("GET")
    two = doubted(replace(found, answers=(replace(found.answer, workloads=("a", "b")),)), {"b": "is away"})
    assert [(each.workloads, each.verdict) for each in two.answers] == [(("b",), "unknown"), (("a",), "allow")]
    assert two.differs


def test_what_never_comes_to_the_sidecar_is_known() -> None:
    found = ask(ORDERS, BROKEN, source="shop/frontend", to="broken.shop", path="/")
    pods = found.answer.workloads
    assert pods
    assert doubted(found, dict.fromkeys(pods, "is away")).answer == found.answer
