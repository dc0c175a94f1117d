"""TLS settings of a whole mesh, changed while it is used."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from tests.e2e.load import constant_load
from tests.e2e.objects import ROOT_NAMESPACE
from tests.e2e.test_under_load import SERVER
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh


def choose(mesh: Mesh, profile: str) -> None:
    """The mesh's profile; every sidecar has acknowledged it afterwards."""
    settings = {"mesh": json.dumps({"hauberk": {"tls": {"profile": profile}}})}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio"}, "data": settings}
    mesh.namespace(ROOT_NAMESPACE).apply(json.dumps(document))


def test_profiles_are_changed_without_a_lost_request(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh().namespace("profiles")
    mesh.run("web", [sys.executable, "-c", SERVER], port="http:8080", replicas=2)

    def newest_group() -> str:
        found = mesh.records(at_least=1, to="web")
        return str(found[-1]["mtls"]["group"])

    with constant_load(mesh, "web:8080") as load:
        for profile, group in (("fips", "P-256"), ("default", "X25519MLKEM768"), ("post-quantum", "X25519MLKEM768")):
            choose(mesh.mesh, profile)
            until(lambda group=group: newest_group() == group, f"connections with {group}")  # type: ignore[misc]  # a default binds it
    assert load.total > 100
    assert load.failed == 0, load.failures
