"""No certificates to be had for longer than one lives: traffic to the last valid second, then none and the reason, then all again."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.e2e import processes
from tests.e2e.load_mixed import arrange, mixed_load
from tests.e2e.rotating import all_well, ends, killed_again, proxies, without_control_plane
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh

LIFETIME = 8  # seconds


def test_traffic_flows_to_the_last_valid_second_then_is_refused_with_the_reason_and_comes_back(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh(settings={"HAUBERK_CERTIFICATE_LIFETIME": f"{LIFETIME}s"})
    namespace = mesh.namespace("outage")
    arrange(namespace, replicas=1)
    # Not `lasting`: a connection of plain TCP lives no longer than a certificate does, by design.
    with mixed_load(namespace, kept=100, fresh=50, lasting=0) as load:
        with processes.halted(mesh, "control-plane"):
            until(lambda: all(each["alarm"] for each in proxies(mesh).values()), "an alarm for each pod")
            first, last = min(ends(mesh)), max(ends(mesh))
            until(lambda: time.time() > last + 3, "the end of all certificates")
            for pod, each in proxies(mesh).items():
                assert not each["ready"], pod
                assert "its certificate ended at" in each["problem"], each
                assert "answer" in each["problem"], each  # that nobody does
            before = load.look()
            until(lambda: all(now.total >= before[kind].total + 10 for kind, now in load.look().items()), "ten more requests of each kind")
            refused = load.look()
            for kind, outcome in refused.items():
                # Certificates know whole seconds, and each side has its own.
                assert first - 1.5 < outcome.last < last + 1.5, (kind, first, last, outcome)
                assert outcome.first_failure > first - 1.5, (kind, first, last, outcome)
                assert outcome.last == before[kind].last, f"{kind} was answered after the end of all certificates"
        began = time.time()
        until(lambda: all(each.last > began for each in load.look().values()), "an answer to each kind of request")
        back = time.time() - began
        until(lambda: all_well(mesh), "every pod well again")
    print(f"certificates ended at {first:.0f} to {last:.0f}, answered again after {back:.1f} s")
    for kind, outcome in refused.items():
        print(f"{kind}: last answer at {outcome.last:.1f}, first failure at {outcome.first_failure:.1f}: {outcome.failures[0]}")


def test_connections_end_with_their_certificate_also_under_an_agent_that_never_had_another(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh(settings={"HAUBERK_CERTIFICATE_LIFETIME": "12s"})
    namespace = mesh.namespace("outlived")
    arrange(namespace, replicas=1)
    until(lambda: all_well(mesh), "every pod well")
    envoys = [processes.find_envoy(namespace, each.partition("/")[2]) for each in proxies(mesh)]
    with without_control_plane(mesh):
        last = max(ends(mesh))
        killed_again(mesh, "agent")
        until(lambda: not any(map(processes.lives, envoys)), "the end of each Envoy that an earlier agent had told its certificate")
        assert time.time() > last - 1, "not before its certificate's"
        for pod, each in proxies(mesh).items():
            assert "its certificate ended at" in each["problem"], (pod, each)
    until(lambda: all_well(mesh), "every pod well again")


def test_an_agent_that_starts_without_a_control_plane_goes_on_trusting(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh()
    namespace = mesh.namespace("alone")
    arrange(namespace, replicas=1)
    kept = mesh.places.agent_state / "trust"
    with mixed_load(namespace, kept=100, fresh=50) as load:
        trust = kept.read_bytes()
        with without_control_plane(mesh):
            killed_again(mesh, "agent")
            until(lambda: [each["connected"] for each in proxies(mesh).values()] == [True] * 2, "the Envoys' coming back to the new agent")
            before = load.look()
            until(lambda: load.look()["fresh"].total > before["fresh"].total + 50, "requests on new connections")
            assert kept.read_bytes() == trust
        until(lambda: all_well(mesh), "every pod well again")
    load.assert_unharmed()
