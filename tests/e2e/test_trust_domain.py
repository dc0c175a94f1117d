"""A trust domain is renamed under load, the control plane is killed in between, and nobody notices."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from tests.e2e import objects, processes
from tests.e2e.callers import ask
from tests.e2e.load_mixed import HTTP_PORT, arrange, mixed_load
from tests.e2e.objects import ROOT_NAMESPACE, authorization_policy, rule
from tests.e2e.rotating import proxies
from tests.e2e.waits import until

from hauberk.testing.answer import MeshFailed
from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace


def call_it(mesh: Mesh, name: str, *aliases: str) -> None:
    """The settings give the mesh these names, and every proxy has acknowledged them."""
    data = {"mesh": yaml.safe_dump({"trustDomain": name, "trustDomainAliases": list(aliases)})}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio"}, "data": data}
    mesh.namespace(ROOT_NAMESPACE).apply(json.dumps(document))


def domains(mesh: Mesh) -> set[str]:
    """The trust domains of the certificates that are in use."""
    return {each["certificate"]["spiffeId"].split("/")[2] for each in proxies(mesh).values()}


def allow(shop: MeshNamespace, domain: str) -> dict[str, Any]:
    return authorization_policy("callers", "ALLOW", rule(source={"principals": [f"{domain}/ns/{shop.name}/*"]}))


def test_a_trust_domain_is_renamed_without_an_outage(own_mesh: Callable[..., Mesh]) -> None:
    mesh = own_mesh(settings={"HAUBERK_TRUST_DOMAIN": "old.example"})
    shop = mesh.namespace("shop")
    arrange(shop)
    objects.apply(shop, objects.idle("client"))
    shop.ready("client")
    with pytest.raises(MeshFailed, match="the trust domain is old"):
        call_it(mesh, "new.example")
    objects.apply(shop, allow(shop, "old.example"))
    with mixed_load(shop) as load:
        call_it(mesh, "old.example", "new.example")
        # Policies written for either name mean callers of either.
        objects.apply(shop, allow(shop, "new.example"))
        assert domains(mesh) == {"old.example"}
        call_it(mesh, "new.example", "old.example")
        processes.kill(mesh, "control-plane")
        until(lambda: domains(mesh) == {"new.example"}, "certificates with the new name")
        objects.apply(shop, allow(shop, "old.example"))
        objects.apply(shop, allow(shop, "new.example"))

        def only_new() -> bool:
            # Refused as long as somebody may hold a certificate with the old name.
            call_it(mesh, "new.example")
            return True

        until(only_new, "the old name to be given up")
        until(lambda: mesh.api("GET", "/v1/ca/federation")["own"]["aliases"] == [], "nobody to be told the old name")
    load.assert_unharmed()
    # Now the old name is somebody else's, and its namespace is not ours.
    objects.apply(shop, allow(shop, "old.example"))
    assert ask(shop, "client", "http", "web", HTTP_PORT)["status"] == 403
    objects.apply(shop, allow(shop, "cluster.local"))
    assert ask(shop, "client", "http", "web", HTTP_PORT)["status"] == 200
    # A restart finds a root that was made under the old name.
    processes.kill(mesh, "control-plane")
    until(lambda: mesh.api("GET", "/v1/ca/federation")["own"]["trustDomain"] == "new.example", "the control plane")
    lines = (mesh.places.audit / "records" / "000000000000.jsonl").read_text().splitlines()
    assert [each["subject"] for each in map(json.loads, lines) if each["kind"] == "trust-domain-renamed"] == ["new.example"]
