"""The columns of `get`."""

from typing import Any

from hauberk.cli.views import columns_of, pod_phase, rows

POD: dict[str, Any] = {
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "shop"},
    "spec": {"containers": [{"name": "main"}], "serviceAccountName": "web", "nodeName": "here"},
    "status": {
        "phase": "Running",
        "podIPs": [{"ip": "10.244.0.2"}, {"ip": "fd00::2"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "main", "ready": True, "restartCount": 2, "state": {"running": {}}}],
    },
}


def _shown(pod: dict[str, Any], *, wide: bool = False, namespaces: bool = False) -> dict[str, str]:
    chosen = columns_of("Pod", wide=wide, namespaces=namespaces)
    cells = [cell if isinstance(cell, str) else cell.text for cell in rows(chosen, [pod])[0]]
    return dict(zip([column.title for column in chosen], cells, strict=True))


def test_a_pod_shows_readiness_state_and_restarts() -> None:
    assert _shown(POD) == {"NAME": "web-1", "READY": "1/1", "STATUS": "Running", "RESTARTS": "2", "AGE": "-"}


def test_wide_adds_addresses_and_identity() -> None:
    shown = _shown(POD, wide=True, namespaces=True)
    assert (shown["NAMESPACE"], shown["IP"], shown["SERVICE-ACCOUNT"]) == ("shop", "10.244.0.2,fd00::2", "web")


def test_the_reason_of_a_waiting_container_is_the_status() -> None:
    waiting = {"name": "main", "ready": False, "state": {"waiting": {"reason": "ProgramNotFound"}}}
    assert pod_phase({**POD, "status": {"phase": "Pending", "containerStatuses": [waiting]}}) == "ProgramNotFound"


def test_a_pod_that_is_being_deleted_is_terminating() -> None:
    assert pod_phase({**POD, "metadata": {"name": "web-1", "deletionTimestamp": "2026-01-01T00:00:00Z"}}) == "Terminating"


def test_an_unknown_kind_shows_name_and_age() -> None:
    assert [column.title for column in columns_of("Widget", wide=True, namespaces=False)] == ["NAME", "AGE"]


def _policy(kind: str, spec: dict[str, Any], **annotations: str) -> list[str]:
    document = {"kind": kind, "metadata": {"name": "a", "annotations": annotations}, "spec": spec}
    chosen = columns_of(kind, wide=False, namespaces=False)
    return [cell if isinstance(cell, str) else cell.text for cell in rows(chosen, [document])[0]]


def test_a_policy_that_is_only_tried_is_told_from_one_that_is_enforced() -> None:
    assert _policy("AuthorizationPolicy", {"action": "DENY", "rules": [{}]}) == ["a", "DENY", "1", "all", "-"]
    assert _policy("AuthorizationPolicy", {}, **{"istio.io/dry-run": "true"})[1] == "ALLOW (dry run)"


def test_a_policy_shows_what_it_is_attached_to() -> None:
    targets = {"targetRefs": [{"kind": "Service", "name": "web"}]}
    assert _policy("RateLimitPolicy", {**targets, "limits": [{"requests": 5, "per": "second", "by": ["source.ip"]}]}) == [
        *("a", "5/second by source.ip", "service/web", "-"),
    ]
    assert _policy("RequestAuthentication", {"jwtRules": [{"issuer": "https://idp.example"}, {}]})[1] == "https://idp.example,any"
