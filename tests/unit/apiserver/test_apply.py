from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.apiserver.serving import Api, FakePilot, codes, serving

from hauberk.api.problem import problem

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, command: [serve], ports: [{name: http, containerPort: 8080}]}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


def config_map(name: str, namespace: str = "", value: str = "1") -> str:
    place = f", namespace: {namespace}" if namespace else ""
    return f'{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}{place}}}, data: {{x: "{value}"}}}}\n'


def place(body: Any) -> str:
    (told,) = body["problems"]
    return f"{told['file']}:{told['line']}:{told['column']}"


def results(body: Any) -> list[str]:
    return [f"{each['kind']}/{each['name']} {each['result']}" for each in body["applied"]]


async def test_objects_are_created_then_left_alone_then_changed(api: Api) -> None:
    status, body = await api.apply(DEPLOYMENT, SERVICE)
    assert (status, results(body), body["problems"]) == (200, ["Deployment/web created", "Service/web created"], [])
    _, body = await api.apply(DEPLOYMENT, SERVICE)
    assert results(body) == ["Deployment/web unchanged", "Service/web unchanged"]
    _, body = await api.apply(DEPLOYMENT, SERVICE.replace("port: 80", "port: 81"))
    assert results(body) == ["Deployment/web unchanged", "Service/web configured"]


async def test_one_error_in_one_file_and_nothing_is_applied(api: Api) -> None:
    before = api.store.revision
    status, body = await api.apply(config_map("a"), "kind: Nonsense\napiVersion: v1\nmetadata: {name: x}\n")
    assert status == 422
    assert body["applied"] == []
    assert [(each["file"], each["line"]) for each in body["problems"]] == [("1.yaml", 1)]
    assert api.store.revision == before


async def test_every_error_is_told_at_once(api: Api) -> None:
    status, body = await api.apply(config_map("a", "nowhere"), "a: [\n", SERVICE.replace("spec:", "spec: {clusterIP: 1.2.3.4}\nspare:"))
    assert status == 422
    assert {"HBK0504", "HBK0001", "HBK0103"} <= set(codes(body))


async def test_a_namespace_must_exist(api: Api) -> None:
    status, body = await api.apply(config_map("a", "shop"))
    assert (status, codes(body), place(body)) == (422, ["HBK0504"], "0.yaml:1:66")
    assert "shop" in body["problems"][0]["message"]


async def test_what_does_not_fit_the_mesh_is_told_with_line_and_column(api: Api) -> None:
    _, body = await api.apply(config_map("a"), "---\n" + SERVICE)
    assert (codes(body), place(body)) == (["HBK0601"], "1.yaml:6:8")


async def test_a_namespace_may_come_last_in_the_same_files(api: Api) -> None:
    namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n"
    status, body = await api.apply(config_map("a", "shop"), namespace)
    assert (status, results(body)) == (200, ["ConfigMap/a created", "Namespace/shop created"])
    assert await api.names("sa", "?namespace=shop") == ["default"]


async def test_the_namespace_of_the_request_is_that_of_objects_which_name_none(api: Api) -> None:
    status, _ = await api.apply(config_map("a"), namespace="istio-system")
    assert status == 200
    assert await api.names("cm", "?namespace=istio-system") == ["a"]


async def test_a_dry_run_says_what_would_be_and_changes_nothing(api: Api) -> None:
    before = api.store.revision
    status, body = await api.apply(DEPLOYMENT, SERVICE, dryRun=True)
    assert (status, results(body)) == (200, ["Deployment/web created", "Service/web created"])
    assert api.store.revision == before


async def test_the_same_object_in_two_files_is_an_error(api: Api) -> None:
    status, body = await api.apply(config_map("a"), config_map("a", value="2"))
    assert (status, codes(body)) == (422, ["HBK0109"])


async def test_replicas_set_by_scale_survive_an_apply_that_does_not_name_them(api: Api) -> None:
    await api.apply(DEPLOYMENT)
    await api.request("PATCH", "/v1/objects/deploy/default/web", {"spec": {"replicas": 5}})
    await api.apply(DEPLOYMENT.replace("  replicas: 2\n", ""))
    assert (await api.get("deploy/default/web"))["spec"]["replicas"] == 5
    await api.apply(DEPLOYMENT)
    assert (await api.get("deploy/default/web"))["spec"]["replicas"] == 2


async def test_a_restart_is_not_undone_by_the_next_apply(api: Api) -> None:
    await api.apply(DEPLOYMENT)
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-07-01T12:00:00Z"}
    patch = {"spec": {"template": {"metadata": {"annotations": restarted}}}}
    await api.request("PATCH", "/v1/objects/deploy/default/web", patch)
    _, body = await api.apply(DEPLOYMENT)
    assert results(body) == ["Deployment/web unchanged"]
    assert (await api.get("deploy/default/web"))["spec"]["template"]["metadata"]["annotations"] == restarted


async def test_what_the_document_leaves_out_is_gone(api: Api) -> None:
    await api.apply('{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {x: "1"}}, data: {k: v}}')
    await api.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")
    found = await api.get("cm/default/a")
    assert "labels" not in found["metadata"]
    assert "data" not in found


async def test_status_in_a_document_is_not_believed(api: Api) -> None:
    await api.apply(DEPLOYMENT)
    await api.request("PATCH", "/v1/objects/deploy/default/web/status", {"status": {"readyReplicas": 2}})
    await api.apply(DEPLOYMENT + "status: {readyReplicas: 9}\n")
    assert (await api.get("deploy/default/web"))["status"]["readyReplicas"] == 2


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        (DEPLOYMENT, DEPLOYMENT.replace("app: web", "app: other"), "spec.selector"),
        (SERVICE, SERVICE.replace("spec: {", "spec: {clusterIP: 10.96.1.1, "), "spec.clusterIP"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, command: [x]}]}}",) * 1
        + ("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, command: [z]}]}}", "spec"),
    ],
)
async def test_what_is_fixed_cannot_be_changed(api: Api, first: str, second: str, path: str) -> None:
    await api.apply(first)
    status, body = await api.apply(second)
    assert (status, codes(body), body["problems"][0]["path"]) == (422, ["HBK0503"], path)
    assert body["problems"][0]["remedy"]


async def test_a_resource_version_in_the_document_must_be_the_present_one(api: Api) -> None:
    await api.apply(config_map("a"))
    stale = '{apiVersion: v1, kind: ConfigMap, metadata: {name: a, resourceVersion: "1"}, data: {x: "2"}}'
    status, body = await api.apply(stale)
    assert (status, codes(body)) == (422, ["HBK0502"])


async def test_a_pod_runs_on_this_machine_whatever_its_document_says(api: Api) -> None:
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: elsewhere, containers: [{name: a, command: [x]}]}}"
    status, body = await api.apply(pod)
    assert (status, codes(body)) == (200, ["HBK0202"])
    assert (await api.get("po/default/p"))["spec"]["nodeName"] == "here"


async def test_a_pod_runs_on_another_machine_that_has_joined_if_its_document_names_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        api.parts.rules = replace(api.parts.rules, joined=lambda: {"n2"})
        text = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n2, containers: [{name: a, command: [x]}]}}"
        assert (await api.apply(text))[1]["problems"] == []
        assert (await api.get("po/default/p"))["spec"]["nodeName"] == "n2"
        _, body = await api.apply(text.replace("name: p", "name: q").replace("n2", "n3"))
        assert "only n2 may run pods" in body["problems"][0]["message"]


async def test_waiting_tells_how_many_proxies_have_acknowledged(api: Api) -> None:
    status, body = await api.apply(config_map("a"), wait=5)
    assert (status, body["affected"], body["acknowledged"]) == (200, 2, 2)
    pilot = api.parts.pilot
    assert isinstance(pilot, FakePilot)
    assert pilot.waited == [api.store.revision]


async def test_proxies_that_are_late_are_named_and_the_change_stays(tmp_path: Path) -> None:
    async with serving(tmp_path, pilot=FakePilot(slow=("default/web-1",))) as api:
        status, body = await api.apply(config_map("a"), wait=0.1)
        assert (status, codes(body), body["acknowledged"]) == (504, ["HBK0604"], 1)
        assert "default/web-1" in body["problems"][0]["message"]
        assert results(body) == ["ConfigMap/a created"]
        assert await api.names("cm") == ["a"]


async def test_the_trust_domain_is_fixed_once_certificates_exist(api: Api) -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, data: {mesh: 'trustDomain: other.org'}}"
    status, body = await api.apply(text)
    assert (status, codes(body), body["problems"][0]["path"]) == (422, ["HBK0503"], "data.mesh")


async def test_a_proxy_that_refuses_is_told_and_has_not_acknowledged(tmp_path: Path) -> None:
    refusal = problem("HBK0603", "the proxy of default/web-1 refused Listener virtualInbound: no", object="Service/default/web")
    async with serving(tmp_path, pilot=FakePilot(refusals=(refusal,))) as api:
        status, body = await api.apply(DEPLOYMENT, SERVICE, wait=5)
    assert (status, codes(body), body["affected"], body["acknowledged"]) == (502, ["HBK0603"], 2, 1)
    assert len(body["applied"]) == 2


async def test_who_applies_again_what_is_refused_is_told_again_and_others_are_not(tmp_path: Path) -> None:
    refusal = problem("HBK0603", "the proxy of default/web-1 refused Listener virtualInbound: no", object="Service/default/web")
    async with serving(tmp_path, pilot=FakePilot(problems=(refusal,))) as api:
        assert (await api.apply(DEPLOYMENT, SERVICE, wait=5))[0] == 502
        assert (await api.apply(config_map("a"), wait=5))[0] == 200
