from __future__ import annotations

from tests.unit.mesh.mesh_objects import mtls, pod

from hauberk.api.peer_authentication import MtlsMode, PeerAuthentication
from hauberk.mesh.peer_authentication import Modes, build_peer_authentications, effective_modes
from hauberk.mesh.workload import build_workload

ROOT = "istio-system"
SELECTOR = {"matchLabels": {"app": "web"}}


def modes(*policies: PeerAuthentication) -> Modes:
    return effective_modes(build_workload(pod("web")), build_peer_authentications(ROOT, *policies))


def test_without_any_policy_both_are_taken() -> None:
    assert modes().default is MtlsMode.PERMISSIVE


def test_the_nearer_policy_wins() -> None:
    mesh, namespace = mtls("default", "STRICT", namespace=ROOT), mtls("ns", "DISABLE")
    workload = mtls("web", "PERMISSIVE", selector=SELECTOR)
    assert modes(mesh).default is MtlsMode.STRICT
    assert modes(mesh, namespace).default is MtlsMode.DISABLE
    assert modes(mesh, namespace, workload).default is MtlsMode.PERMISSIVE


def test_unset_asks_the_next_level() -> None:
    mesh, namespace = mtls("default", "STRICT", namespace=ROOT), mtls("ns", "UNSET")
    assert modes(mesh, namespace, mtls("web", selector=SELECTOR)).default is MtlsMode.STRICT


def test_a_ports_mode_wins_over_the_workloads_and_unset_takes_it() -> None:
    found = modes(mtls("web", "STRICT", selector=SELECTOR, portLevelMtls={80: {"mode": "DISABLE"}, 81: {"mode": "UNSET"}, 82: {}}))
    assert [found.of(port) for port in (80, 81, 82, 83)] == [MtlsMode.DISABLE, MtlsMode.STRICT, MtlsMode.STRICT, MtlsMode.STRICT]


def test_of_two_policies_of_one_level_the_oldest_counts() -> None:
    old, new = mtls("b", "DISABLE", created="2026-01-01T00:00:00Z"), mtls("a", "STRICT", created="2026-01-02T00:00:00Z")
    assert modes(new, old).default is MtlsMode.DISABLE


def test_a_selecting_policy_of_the_root_namespace_is_about_that_namespace_only() -> None:
    assert modes(mtls("web", "STRICT", namespace=ROOT, selector=SELECTOR)).default is MtlsMode.PERMISSIVE


def test_the_policies_that_had_a_say_are_named() -> None:
    assert modes(mtls("default", "STRICT", namespace=ROOT)).origins == ("PeerAuthentication/istio-system/default",)


def test_on_every_level_the_oldest_counts_alone_also_if_it_says_nothing() -> None:
    old, young = "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"
    for level in ({"namespace": ROOT}, {}, {"selector": SELECTOR}):
        strict, other = mtls("b", "STRICT", created=old, **level), mtls("a", "DISABLE", created=young, **level)
        assert modes(other, strict).default is MtlsMode.STRICT
        unset = mtls("b", "UNSET", created=old, **level)
        assert modes(other, unset).default is MtlsMode.PERMISSIVE


def test_of_equally_old_policies_the_first_by_name_counts() -> None:
    assert modes(mtls("b", "STRICT"), mtls("a", "DISABLE")).default is MtlsMode.DISABLE


def test_of_the_policies_that_select_a_workload_one_decides_about_its_mode_and_its_ports() -> None:
    older = mtls("older", "UNSET", selector=SELECTOR, created="2024-01-01T00:00:00Z")
    younger = mtls("younger", "STRICT", selector=SELECTOR, portLevelMtls={80: {"mode": "DISABLE"}}, created="2025-01-01T00:00:00Z")
    elsewhere = mtls("elsewhere", "STRICT", selector={"matchLabels": {"app": "db"}}, created="2023-01-01T00:00:00Z")
    assert modes(younger, older, elsewhere) == Modes(MtlsMode.PERMISSIVE, (), ("PeerAuthentication/shop/older",))


def test_ports_that_are_not_named_have_the_workloads_mode() -> None:
    found = modes(mtls("ns", "DISABLE"), mtls("web", "STRICT", selector=SELECTOR, portLevelMtls={80: {"mode": "PERMISSIVE"}}))
    assert [found.of(port) for port in (80, 81)] == [MtlsMode.PERMISSIVE, MtlsMode.STRICT]
