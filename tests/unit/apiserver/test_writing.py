from typing import Any

import pytest
from tests.unit.apiserver.serving import Api, codes
from tests.unit.apiserver.test_apply import DEPLOYMENT, SERVICE, config_map

POD = "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {app: web}}, spec: {containers: [{name: a, command: [x]}]}}"
WEB = "/v1/objects/deploy/default/web"


async def test_a_patch_changes_what_it_names_and_removes_what_it_nulls(api: Api) -> None:
    await api.apply('{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {x: "1", y: "2"}}, data: {k: v}}')
    patch = {"metadata": {"labels": {"x": None, "z": "3"}}, "data": {"l": "w"}}
    status, body = await api.request("PATCH", "/v1/objects/cm/default/a", patch)
    assert (status, body["metadata"]["labels"], body["data"]) == (200, {"y": "2", "z": "3"}, {"k": "v", "l": "w"})


async def test_a_patch_of_the_spec_is_a_new_generation_and_one_of_the_status_is_not(api: Api) -> None:
    await api.apply(DEPLOYMENT)
    _, body = await api.request("PATCH", WEB, {"spec": {"replicas": 7}})
    assert (body["spec"]["replicas"], body["metadata"]["generation"]) == (7, 2)
    _, body = await api.request("PATCH", WEB + "/status", {"status": {"replicas": 3}})
    assert (body["status"]["replicas"], body["metadata"]["generation"]) == (3, 2)
    _, body = await api.request("PATCH", WEB, {"status": {"replicas": 4}})
    assert body["status"]["replicas"] == 3


async def test_of_two_who_saw_the_same_version_one_hears_of_the_conflict(api: Api) -> None:
    await api.apply(DEPLOYMENT)
    version = (await api.get("deploy/default/web"))["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "spec": {"replicas": 3}}
    assert (await api.request("PATCH", WEB, patch))[0] == 200
    status, body = await api.request("PATCH", WEB, patch)
    assert (status, codes(body)) == (409, ["HBK0502"])


async def test_a_status_for_a_pod_that_another_has_replaced_is_refused(api: Api) -> None:
    await api.apply(POD)
    patch = {"metadata": {"uid": "another"}, "status": {"podIP": "10.244.0.9"}}
    status, body = await api.request("PATCH", "/v1/objects/pods/default/p/status", patch)
    assert (status, codes(body)) == (409, ["HBK0502"])


@pytest.mark.parametrize(
    ("path", "patch", "status", "code"),
    [
        (WEB, {"spec": {"replicas": -1}}, 422, "HBK0107"),
        (WEB, {"spec": {"nonsense": 1}}, 422, "HBK0103"),
        (WEB, {"metadata": {"name": "other"}}, 422, "HBK0503"),
        (WEB, {"metadata": {"ownerReferences": []}}, 422, "HBK0503"),
        (WEB, {"kind": "Pod"}, 422, "HBK0503"),
        (WEB, [], 400, "HBK0505"),
        (WEB + "/status", {"status": {"replicas": "many"}}, 422, "HBK0104"),
        ("/v1/objects/svc/default/web", {"spec": {"clusterIP": "10.96.3.3"}}, 422, "HBK0503"),
        ("/v1/objects/svc/default/nope", {}, 404, "HBK0501"),
    ],
)
async def test_a_patch_is_checked_as_if_it_were_applied(api: Api, path: str, patch: Any, status: int, code: str) -> None:
    await api.apply(DEPLOYMENT, SERVICE)
    before = api.store.revision
    found, body = await api.request("PATCH", path, patch)
    assert (found, codes(body)) == (status, [code])
    assert api.store.revision == before


async def test_a_pod_is_asked_to_end_and_goes_when_its_agent_says_so(api: Api) -> None:
    await api.apply(POD)
    path = "/v1/objects/pods/default/p"
    status, body = await api.request("DELETE", path + "?finalize=true")
    assert (status, codes(body)) == (409, ["HBK0502"])
    status, body = await api.request("DELETE", path)
    assert (status, "deletionTimestamp" in body["metadata"]) == (200, True)
    status, body = await api.apply(POD)
    assert (status, codes(body)) == (422, ["HBK0502"])
    assert (await api.request("DELETE", path + "?finalize=true&uid=another"))[0] == 409
    assert (await api.request("DELETE", path + f"?finalize=true&uid={(await api.get('po/default/p'))['metadata']['uid']}"))[0] == 200
    assert await api.names("pods") == []


async def test_a_status_of_another_pod_of_the_same_name_is_refused(api: Api) -> None:
    await api.apply(POD)
    path, uid = "/v1/objects/pods/default/p/status", (await api.get("po/default/p"))["metadata"]["uid"]
    for asked, status, phase in (("another", 409, "Pending"), (uid, 200, "Running")):
        assert (await api.request("PATCH", path, {"metadata": {"uid": asked}, "status": {"phase": "Running"}}))[0] == status
        assert (await api.get("po/default/p"))["status"]["phase"] == phase


async def test_other_objects_go_at_once(api: Api) -> None:
    await api.apply(config_map("a"))
    assert (await api.request("DELETE", "/v1/objects/cm/default/a"))[0] == 200
    assert await api.names("cm") == []
