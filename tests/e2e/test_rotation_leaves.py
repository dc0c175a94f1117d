"""Leaves change every two seconds under load, and nobody notices."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.load_mixed import arrange, mixed_load
from tests.e2e.rotating import proxies, roots
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


def test_a_new_issuing_key_costs_no_request(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh(settings={"HAUBERK_CERTIFICATE_LIFETIME": "8s"})
    namespace = mesh.namespace("issuing")
    arrange(namespace)
    with mixed_load(namespace, lasting=0) as load:
        before, old_roots = issuers(mesh), roots(mesh)
        mesh.api("POST", "/v1/ca/rotate", {})
        until(lambda: not issuers(mesh) & before, "certificates of the new issuing key at every pod")
        assert roots(mesh) == old_roots
    load.assert_unharmed()


def issuers(mesh: Mesh) -> set[str]:
    """Who signed the certificates that are in use."""
    return {each["certificate"]["issuer"] for each in proxies(mesh).values()}
