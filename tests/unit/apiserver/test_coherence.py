import pytest
from tests.unit.apiserver.serving import Api, codes
from tests.unit.apiserver.test_apply import DEPLOYMENT, SERVICE

POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: NAMESPACE}
spec: {selector: {matchLabels: {app: web}}}
"""
PEER = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: NAME, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""


async def test_objects_that_fit_together_cause_no_word(api: Api) -> None:
    _, body = await api.apply(SERVICE, DEPLOYMENT, POLICY.replace("NAMESPACE", "default"))
    assert body["problems"] == []


@pytest.mark.parametrize("text", [SERVICE, POLICY.replace("NAMESPACE", "default"), POLICY.replace("NAMESPACE", "istio-system")])
async def test_a_selector_that_matches_nothing_is_a_warning(api: Api, text: str) -> None:
    status, body = await api.apply(text)
    assert (status, codes(body)) == (200, ["HBK0601"])
    assert (body["problems"][0]["severity"], body["problems"][0]["file"]) == ("warning", "0.yaml")
    assert "app=web" in body["problems"][0]["message"]


async def test_a_policy_of_the_root_namespace_selects_everywhere(api: Api) -> None:
    _, body = await api.apply(DEPLOYMENT, POLICY.replace("NAMESPACE", "istio-system"))
    assert body["problems"] == []


@pytest.mark.parametrize("target", ["9090", "admin"])
async def test_a_target_port_that_nobody_declares_is_a_warning(api: Api, target: str) -> None:
    _, body = await api.apply(DEPLOYMENT, SERVICE.replace("targetPort: 8080", f"targetPort: {target}"))
    assert codes(body) == ["HBK0602"]
    assert f"port {target}; declared are http (8080)" in body["problems"][0]["message"]
    assert body["problems"][0]["path"] == "spec.ports[0].targetPort"


async def test_a_target_port_may_be_a_name(api: Api) -> None:
    _, body = await api.apply(DEPLOYMENT, SERVICE.replace("targetPort: 8080", "targetPort: http"))
    assert body["problems"] == []


async def test_ports_need_not_be_declared(api: Api) -> None:
    silent = DEPLOYMENT.replace(", ports: [{name: http, containerPort: 8080}]", "")
    _, body = await api.apply(silent, SERVICE)
    assert body["problems"] == []
    _, body = await api.apply(silent, SERVICE.replace("targetPort: 8080", "targetPort: http"))
    assert codes(body) == ["HBK0602"]


async def test_a_service_account_that_does_not_exist_is_a_warning(api: Api) -> None:
    status, body = await api.apply(DEPLOYMENT.replace("containers:", "serviceAccountName: web\n      containers:"))
    assert (status, codes(body)) == (200, ["HBK0605"])


async def test_two_mesh_wide_peer_authentications_compete(api: Api) -> None:
    _, body = await api.apply(PEER.replace("NAME", "another"))
    assert codes(body) == ["HBK0606"]
    _, body = await api.apply(PEER.replace("NAME", "default"))
    assert codes(body) == ["HBK0606"]
