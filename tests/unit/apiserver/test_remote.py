"""What the agent of another machine may do with the API, and all that it may not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.apiserver.serving import Api, FakePilot, codes, reachable, serving

from hauberk.api.pod import Pod
from hauberk.api.pod_status import PodStatus
from hauberk.apiserver.remote import serve_node
from hauberk.apiserver.server import ROUTES

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {colour: red}\n"
PATCH = {"content-type": "application/merge-patch+json"}


class FakeNames:
    """No names."""

    def table(self) -> dict[str, Any]:
        return {"revision": "1", "services": {}}

    async def tables(self) -> AsyncIterator[dict[str, Any]]:
        yield self.table()


def pod(name: str, node: str, uid: str) -> Pod:
    environment = [{"name": "C", "valueFrom": {"configMapKeyRef": {"name": f"of-{name}", "key": "colour"}}}]
    spec = {"nodeName": node, "containers": [{"name": "main", "command": ["true"], "env": environment}]}
    return Pod.model_validate({"metadata": {"name": name, "namespace": "default", "uid": uid}, "spec": spec})


@asynccontextmanager
async def two_machines(path: Path) -> AsyncIterator[tuple[Api, Api]]:
    """The API as people have it, and as the agent of n2 has it; n2 has the pod `ours`, another machine `theirs`."""
    async with serving(path, names=FakeNames(), pilot=FakePilot()) as api:
        await api.store.transact(lambda draft: [draft.put(pod("ours", "n2", "u-ours")), draft.put(pod("theirs", "here", "u-theirs"))])
        await api.apply(CONFIG.replace("NAME", "of-ours"), CONFIG.replace("NAME", "of-theirs"))
        task = asyncio.create_task(serve_node(api.parts, "n2", path / "n2.sock"))
        remote = Api(path / "n2.sock", api.parts)
        try:
            await reachable(remote)
            yield api, remote
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def uid(api: Api, name: str) -> str:
    found = api.store.find(Pod, "default", name)
    assert found is not None
    return found.metadata.uid


async def test_an_agent_sees_the_pods_of_its_own_machine_only(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (_, remote):
        assert await remote.names("pods") == ["ours"]
        assert await remote.names("pods", "?namespace=default&labelSelector=") == ["ours"]
        assert (await remote.get("pods/default/ours"))["metadata"]["name"] == "ours"
        assert (await remote.request("GET", "/v1/objects/pods/default/theirs"))[0] == 404


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_watch_tells_an_agent_nothing_of_other_machines_pods_not_even_their_end(tmp_path: Path, *, resumed: bool) -> None:
    async with two_machines(tmp_path) as (api, remote):
        since = f"&resourceVersion={api.store.revision}" if resumed else ""
        watching = asyncio.create_task(remote.watch(f"pods?watch=true{since}", 2 if resumed else 3))
        while not watching.done():
            for name in ("theirs", "ours"):
                status = {"metadata": {"uid": uid(api, name)}, "status": {"phase": "Running", "message": str(api.store.revision)}}
                await api.request("PATCH", f"/v1/objects/pods/default/{name}/status", status, headers=PATCH)
        await api.store.transact(lambda draft: draft.delete(pod("theirs", "here", "x").key))
        assert "theirs" not in json.dumps(watching.result())
        assert "ours" in json.dumps(watching.result())


async def test_an_agent_says_how_its_own_pod_is_and_nothing_of_others(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (api, remote):

        async def patch(name: str, **metadata: str) -> int:
            document = {"metadata": metadata, "status": {"phase": "Running"}}
            return (await remote.request("PATCH", f"/v1/objects/pods/default/{name}/status", document, headers=PATCH))[0]

        assert await patch("ours", uid=uid(api, "ours")) == 200
        assert await patch("theirs", uid=uid(api, "theirs")) == 404
        assert await patch("ours") == 409  # without a uid it could be meant for a predecessor
        assert await patch("ours", uid=uid(api, "theirs")) == 409
        theirs = api.store.find(Pod, "default", "theirs")
        assert theirs is not None
        assert theirs.status == PodStatus()


async def test_a_status_changes_neither_the_machine_nor_anything_else_of_a_pod(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (api, remote):
        before = api.store.find(Pod, "default", "ours")
        document = {"metadata": {"uid": uid(api, "ours")}, "spec": {"serviceAccountName": "admin"}, "status": {"phase": "Running"}}
        assert (await remote.request("PATCH", "/v1/objects/pods/default/ours/status", document, headers=PATCH))[0] == 200
        after = api.store.find(Pod, "default", "ours")
        assert before is not None
        assert after is not None
        assert after.spec == before.spec


async def test_an_agent_finishes_with_its_own_pod_that_was_deleted_and_with_no_other(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (api, remote):

        async def finish(name: str, query: str = "?finalize=true&uid={uid}") -> int:
            path = f"/v1/objects/pods/default/{name}" + query.format(uid=uid(api, name))
            return (await remote.request("DELETE", path))[0]

        assert await finish("ours") == 409  # nobody wants it gone
        assert await finish("ours", "?uid={uid}") == 403
        for name in ("ours", "theirs"):
            await api.request("DELETE", f"/v1/objects/pods/default/{name}")
        assert await finish("theirs") == 404
        assert await finish("ours", "?finalize=true") == 409
        assert await finish("ours") == 200
        assert api.store.find(Pod, "default", "ours") is None
        assert api.store.find(Pod, "default", "theirs") is not None


async def test_an_agent_reads_the_config_maps_its_pods_refer_to_and_no_others(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (_, remote):
        assert (await remote.get("configmaps/default/of-ours"))["data"] == {"colour": "red"}
        for path in ("default/of-theirs", "istio-system/other", "other/of-ours"):
            assert (await remote.request("GET", f"/v1/objects/configmaps/{path}"))[0] == 403


async def test_an_agent_reads_and_follows_the_settings_of_the_mesh_and_no_other_config_map(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (api, remote):
        assert await remote.names("configmaps") == []
        settings = CONFIG.replace("{name: NAME}", "{name: istio, namespace: istio-system}").replace("{colour: red}", "{mesh: ''}")
        watching = asyncio.create_task(remote.watch("configmaps?watch=true", 2))
        await api.apply(CONFIG.replace("NAME", "more"))
        await api.apply(settings)
        assert [line.split()[1] for line in await watching if not line.startswith("BOOKMARK")] == ["istio"]
        assert await remote.names("configmaps") == ["istio"]
        assert (await remote.get("configmaps/istio-system/istio"))["data"] == {"mesh": ""}


async def test_an_agent_has_the_names_and_the_status_of_its_own_proxies(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (_, remote):
        assert (await remote.request("GET", "/v1/names"))[0] == 200
        code, status = await remote.request("GET", "/v1/status")
        assert code == 200
        assert set(status) == {"controlPlane", "proxies", "problems"}
        assert status["proxies"] == []


ALLOWED = {
    ("POST", "/v1/decisions"),
    ("GET", "/v1/objects/{plural}"),
    ("GET", "/v1/objects/{plural}/{namespace}/{name}"),
    ("DELETE", "/v1/objects/{plural}/{namespace}/{name}"),
    ("PATCH", "/v1/objects/{plural}/{namespace}/{name}/status"),
    ("GET", "/v1/names"),
    ("GET", "/v1/readyz"),
    ("GET", "/v1/status"),
}


def forbidden() -> list[tuple[str, str]]:
    """Everything that the API has for people and not for agents, also of the kinds and paths that it has for agents."""
    plain = {"plural": "pods", "namespace": "default", "name": "ours", "pod": "ours"}
    found: list[tuple[str, str]] = []
    for route in ROUTES:
        for method in sorted((getattr(route, "methods", None) or set()) - {"HEAD"}):
            path = getattr(route, "path", "")
            values = {**plain, **{name: "x" for name in getattr(route, "param_convertors", {}) if name not in plain}}
            allowed = (method, path) in ALLOWED
            kinds = ("services", "serviceaccounts", "namespaces", "deployments", "peerauthentications") if allowed else ("pods",)
            if allowed and "{plural}" not in path:
                continue
            found += [(method, path.format(**{**values, "plural": kind})) for kind in kinds]
    return [*found, ("POST", "/v1/objects/pods"), ("PUT", "/v1/objects/pods/default/ours"), ("GET", "/v1/objects/secrets"), ("GET", "/")]


@pytest.mark.parametrize(("method", "path"), forbidden())
async def test_nothing_else_of_the_api_is_there_for_an_agent(tmp_path: Path, method: str, path: str) -> None:
    async with two_machines(tmp_path) as (_, remote):
        status, body = await remote.request(method, path, json={}, headers=PATCH)
        assert status == 404
        assert codes(body) == ["HBK0505"]


def test_the_list_of_forbidden_requests_covers_the_whole_api() -> None:
    listed: Any = {path for _, path in forbidden()}
    assert {"/v1/apply", "/v1/delete"} <= listed
    assert len(forbidden()) > len(ROUTES)
