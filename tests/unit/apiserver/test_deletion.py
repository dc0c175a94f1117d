import asyncio
from typing import Any

import pytest
from tests.unit.apiserver.serving import Api, codes
from tests.unit.apiserver.test_apply import config_map
from tests.unit.apiserver.test_writing import POD


async def delete(api: Api, **request: Any) -> tuple[int, Any]:
    return await api.request("POST", "/v1/delete", request)


def keys(body: Any) -> list[str]:
    return [f"{each['kind']}/{each['namespace']}/{each['name']}" for each in body["deleted"]]


async def test_what_files_declare_is_deleted(api: Api) -> None:
    text = config_map("a") + "---\n" + config_map("b")
    await api.apply(text, config_map("c"))
    status, body = await delete(api, files=[{"name": "x", "text": text}])
    assert (status, keys(body), body["problems"]) == (200, ["ConfigMap/default/b", "ConfigMap/default/a"], [])
    assert await api.names("cm") == ["c"]


async def test_what_is_named_is_deleted_and_what_is_not_there_is_told(api: Api) -> None:
    await api.apply(config_map("a"))
    status, body = await delete(api, kind="cm", names=["a", "b"])
    assert (status, keys(body), codes(body)) == (200, ["ConfigMap/default/a"], ["HBK0501"])
    status, body = await delete(api, kind="cm", names=["b"])
    assert (status, codes(body)) == (404, ["HBK0501"])
    status, body = await delete(api, kind="cm", names=["b"], ignoreNotFound=True)
    assert (status, keys(body)) == (200, [])


async def test_files_with_errors_delete_nothing(api: Api) -> None:
    await api.apply(config_map("a"))
    status, _ = await delete(api, files=[{"name": "x", "text": config_map("a") + "---\nnonsense"}])
    assert status == 422
    assert await api.names("cm") == ["a"]


async def test_a_dry_run_deletes_nothing(api: Api) -> None:
    await api.apply(config_map("a"))
    status, body = await delete(api, kind="cm", names=["a"], dryRun=True)
    assert (status, keys(body)) == (200, ["ConfigMap/default/a"])
    assert await api.names("cm") == ["a"]


@pytest.mark.parametrize("name", ["default", "istio-system"])
async def test_the_mesh_keeps_the_namespaces_it_needs(api: Api, name: str) -> None:
    status, body = await delete(api, kind="ns", names=[name])
    assert (status, codes(body)) == (422, ["HBK0509"])


async def test_a_namespace_takes_what_is_in_it_along(api: Api) -> None:
    await api.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}", config_map("a", "shop"))
    status, _ = await delete(api, kind="ns", names=["shop"], namespace=None)
    assert status == 200
    assert await api.names("cm") == []
    assert await api.names("ns") == ["default", "istio-system"]


async def test_a_namespace_with_pods_waits_for_them_and_takes_nothing_new(api: Api) -> None:
    await api.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
    await api.apply(POD, namespace="shop")
    await delete(api, kind="ns", names=["shop"])
    assert "deletionTimestamp" in (await api.get("ns/-/shop"))["metadata"]
    assert "deletionTimestamp" in (await api.get("po/shop/p"))["metadata"]
    status, body = await api.apply(config_map("a", "shop"))
    assert (status, codes(body)) == (422, ["HBK0504"])


async def test_waiting_is_over_when_the_pod_is_gone(api: Api) -> None:
    await api.apply(POD)
    waiting = asyncio.create_task(delete(api, kind="pod", names=["p"], wait=20))
    await api.store.beyond(api.store.revision)
    assert not waiting.done()
    await api.request("DELETE", "/v1/objects/pods/default/p?finalize=true")
    status, body = await waiting
    assert (status, body["affected"]) == (200, 2)


async def test_waiting_for_a_pod_that_does_not_go_ends_with_504(api: Api) -> None:
    await api.apply(POD)
    status, body = await delete(api, kind="pod", names=["p"], wait=0.01)
    assert (status, codes(body), keys(body)) == (504, ["HBK0604"], ["Pod/default/p"])


@pytest.mark.parametrize(
    "request_", [{}, {"kind": "cm"}, {"names": ["a"]}, {"kind": "cm", "names": ["a"], "files": [{"name": "x", "text": ""}]}]
)
async def test_a_request_that_names_nothing_or_too_much_is_refused(api: Api, request_: dict[str, Any]) -> None:
    status, body = await delete(api, **request_)
    assert (status, codes(body)) == (400, ["HBK0505"])
