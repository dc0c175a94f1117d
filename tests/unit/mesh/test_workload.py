from __future__ import annotations

import pytest
from tests.unit.mesh.mesh_objects import pod

from hauberk.mesh.workload import build_workload


def test_a_pod_that_is_being_deleted_gets_no_new_requests() -> None:
    workload = build_workload(pod("web", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    assert (workload.ready, workload.serving) == (False, False)
    assert workload.addresses == ("10.244.0.2",)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_has_no_address(phase: str) -> None:
    assert build_workload(pod("web", phase=phase)).addresses == ()


@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_a_pod_without_injection_is_not_meshed(where: str) -> None:
    assert not build_workload(pod("web", metadata={where: {"sidecar.istio.io/inject": "False"}})).meshed
    assert build_workload(pod("web")).meshed


def test_ipv4_comes_first() -> None:
    both = pod("web").model_dump(by_alias=True)
    both["status"]["podIPs"] = [{"ip": "fd00::2"}, {"ip": "10.244.0.2"}]
    both["status"]["podIP"] = "fd00::2"
    assert build_workload(type(pod("web")).model_validate(both)).addresses == ("10.244.0.2", "fd00::2")
