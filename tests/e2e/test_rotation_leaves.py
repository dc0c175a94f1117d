"""Leaves change every two seconds under load, and nobody notices."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.load_mixed import arrange, mixed_load
from tests.e2e.waits import until

from hauberk.testing.mesh import Mesh


def test_leaf_rotation_every_two_seconds_costs_no_request(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh(settings={"HAUBERK_CERTIFICATE_LIFETIME": "4s"}).namespace("leaves")
    arrange(mesh)
    seen: dict[str, set[str]] = {}

    def four_each() -> bool:
        for each in mesh.mesh.agent("GET", "/v1/status")["proxies"]:
            seen.setdefault(each["pod"], set()).add(each["certificate"]["serial"])
        return all(len(serials) >= 4 for serials in seen.values())

    # Not `lasting`: a connection of plain TCP lives no longer than a certificate does, by design.
    with mixed_load(mesh, lasting=0) as load:
        until(four_each, "the fourth certificate of each pod")
    load.assert_unharmed()
