from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.unit.apiserver.serving import Api, FakePilot, codes, serving

from hauberk.apiserver.explain import LARGEST

SERVICE = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}"
POD = (
    "{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, "
    "spec: {containers: [{name: a, command: [x], ports: [{containerPort: 80}]}]}}"
)
POLICY = (
    "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, "
    "spec: {action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}}"
)
QUESTION = {"from": "default/me", "to": "web", "method": "POST", "path": "/"}


async def explain(api: Api, **body: Any) -> tuple[int, Any]:
    return await api.request("POST", "/v1/explain", body)


async def test_a_request_is_predicted_now_and_as_it_would_have_been(api: Api) -> None:
    await api.apply(SERVICE, POD)
    before = datetime.now(UTC).isoformat()
    await api.apply(POLICY)
    _, now = await explain(api, question=QUESTION)
    _, then = await explain(api, question=QUESTION, at=before)
    assert (now["verdict"], now["decidedBy"]) == ("deny", {"policy": "default/p", "rule": "0"})
    assert (then["verdict"], then["policies"]) == ("allow", [])
    assert "there is no ServiceAccount me" in now["warnings"][0]
    _, known = await explain(api, question={**QUESTION, "from": "default/default"})
    assert known["warnings"] == []


async def test_what_has_happened_is_explained_when_the_policy_is_gone(api: Api) -> None:
    await api.apply(SERVICE, POD, POLICY)
    record = {
        "time": datetime.now(UTC).isoformat(),
        "source": {"identity": "spiffe://cluster.local/ns/default/sa/me"},
        "destination": {"pod": "web", "namespace": "default", "service": "web.default.svc.cluster.local", "port": 80},
        "method": "POST",
        "path": "/",
        "status": 403,
        "decision": {"verdict": "deny", "policy": "default/p", "rule": "0"},
    }
    await api.request("DELETE", "/v1/objects/ap/default/p")
    await api.request("DELETE", "/v1/objects/svc/default/web")
    status, found = await explain(api, record=record)
    assert (status, found["decidedBy"], found["policies"][0]["matched"]) == (200, {"policy": "default/p", "rule": "0"}, True)
    _, found = await explain(api, record={**record, "time": "2020-01-01T00:00:00Z"})
    assert (found["verdict"], found["objectsComplete"], found["policies"]) == ("deny", False, [])
    assert "all that is known is what the record tells" in found["warnings"][0]


async def test_what_cannot_be_answered_is_refused_with_a_remedy(api: Api) -> None:
    await api.apply(SERVICE, POD)
    for body, expected in (
        ({"question": {"to": "wep"}}, 422),
        ({"question": {"to": "web", "colour": "red"}}, 422),
        ({}, 400),
        ({"question": {"to": "web"}, "record": {}}, 400),
        ({"question": {"to": "web"}, "at": "tomorrow"}, 400),
        ({"record": {"time": "never"}}, 400),
        ({"question": {**QUESTION, "path": "/" + "x" * 62_000}}, 422),
        ({"question": {**QUESTION, "headers": {"x": ["x" * 1000] * 62}}}, 422),
        ({"question": {**QUESTION, "from": "default/" + "x" * 2048}}, 422),
    ):
        status, found = await explain(api, **body)
        assert (status, codes(found)) == (expected, ["HBK0505"]), body


async def test_a_question_larger_than_any_request_is_not_read(api: Api) -> None:
    status, found = await explain(api, question={"to": "web", "claims": {"x": "x" * LARGEST}})
    assert (status, codes(found)) == (413, ["HBK0002"])


async def test_what_no_sidecar_takes_is_told_as_the_record_has_it(api: Api) -> None:
    await api.apply(SERVICE, POD)
    destination = {"pod": "web", "namespace": "default", "port": 80}
    record = {"time": datetime.now(UTC).isoformat(), "destination": destination, "method": "GET", "path": "/" + "x" * 62_000, "status": 431}
    _, found = await explain(api, record=record)
    assert "it answers 431: all that is known is what the record tells" in found["warnings"][0]


async def test_what_a_sidecar_does_that_has_not_answered_is_not_foretold(tmp_path: Path) -> None:
    pilot = FakePilot(slow=("default/web-1",))
    async with serving(tmp_path, pilot=pilot) as api:
        await api.apply(SERVICE, POD.replace("name: web,", "name: web-1,"), POLICY)
        _, found = await explain(api, question=QUESTION)
        assert found["verdict"] == "unknown"
        assert "the sidecar of web-1 has not acknowledged yet" in found["warnings"][0]
        assert pilot.waited == [api.store.revision]  # a push under way would have been over
        pilot.slow = ()
        _, found = await explain(api, question=QUESTION)
        assert found["verdict"] == "deny"
