"""Settings of the mesh: Istio's MeshConfig in the ConfigMap `istio` of the root namespace, changed while the mesh runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from cryptography import x509
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.objects import ROOT_NAMESPACE, Document, authorization_policy, port, rule
from tests.e2e.programs import server_command

from hauberk.testing.answer import MeshFailed
from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

Configure = Callable[..., list[Document]]


@pytest.fixture(scope="module")
def shop(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server, a program outside of the mesh, and a caller."""
    mesh = shared_mesh.namespace("settings")
    objects.apply(
        mesh,
        objects.pod("web", server_command("http@[::]:8080", "greet@[::]:9000")),
        objects.service("web", port(8080, "http"), port(9000, "port")),
        objects.pod("away", server_command("http@[::]:8080", "tcp@[::]:9000"), meshed=False),
        objects.idle("client"),
    )
    mesh.ready("web", "away", "client")
    yield mesh
    mesh.clear()


@pytest.fixture
def configure(shop: MeshNamespace) -> Iterator[Configure]:
    """Sets the mesh's settings and returns what was remarked on them; afterwards there are none."""
    root = shop.mesh.namespace(ROOT_NAMESPACE)

    def change(**settings: Any) -> list[Document]:
        data = {"mesh": yaml.safe_dump(settings)}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio"}, "data": data}
        problems: list[Document] = root.apply(json.dumps(document))["problems"]
        return problems

    yield change
    listed = shop.mesh.api("GET", f"/v1/objects/configmaps?namespace={ROOT_NAMESPACE}")["items"]
    if any(each["metadata"]["name"] == "istio" for each in listed):
        root.delete("ConfigMap", "istio")


def outside(mesh: MeshNamespace) -> list[bool]:
    """Whether a program of the mesh reaches one that the mesh does not know: by HTTP, by TCP."""
    address = mesh.get("pods", "away")["status"]["podIP"]
    http = ask(mesh, "client", "http", address, 8080, timeout=5)
    tcp = ask(mesh, "client", "tcp", address, 9000, timeout=5)
    return [http.get("status") == 200, tcp.get("said") == ["HELLO"]]


def test_destinations_that_the_mesh_does_not_know_are_reached_unless_only_known_ones_may_be(
    shop: MeshNamespace, configure: Configure
) -> None:
    assert outside(shop) == [True, True]
    assert configure(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}) == []
    assert outside(shop) == [False, False]
    assert ask(shop, "client", "http", "web", 8080)["status"] == 200
    address = shop.get("pods", "away")["status"]["podIP"]
    assert ask(shop, "client", "http", address, 8080)["status"] == 502
    configure(outboundTrafficPolicy={"mode": "ALLOW_ANY"})
    assert outside(shop) == [True, True]


def test_removing_the_settings_brings_the_defaults_back(shop: MeshNamespace, configure: Configure) -> None:
    configure(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
    shop.mesh.namespace(ROOT_NAMESPACE).delete("ConfigMap", "istio")
    assert outside(shop) == [True, True]


NORMALIZED = {
    "NONE": ("/a/../b//c%2Fd", {"/x/../secret/a": 200, "//secret/a": 200, "/secret%2Fa": 200}),
    "BASE": ("/b//c%2Fd", {"/x/../secret/a": 403, "//secret/a": 200, "/secret%2Fa": 200}),
    "MERGE_SLASHES": ("/b/c%2Fd", {"/x/../secret/a": 403, "//secret/a": 403, "/secret%2Fa": 200}),
    "DECODE_AND_MERGE_SLASHES": ("/b/c/d", {"/x/../secret/a": 403, "//secret/a": 403, "/secret%2Fa": 403, "/secret%5Ca": 403}),
}


def test_a_path_is_normalized_as_the_settings_say_before_it_is_decided_about(shop: MeshNamespace, configure: Configure) -> None:
    # A caller for each, because connections between sidecars which are open already end with the settings they began with.
    names = {mode: mode.lower().replace("_", "-") for mode in NORMALIZED}
    objects.apply(shop, *(objects.idle(name) for name in names.values()))
    shop.ready(*names.values())
    objects.apply(shop, authorization_policy("no-secrets", "DENY", rule(to={"paths": ["/secret/*"]}), app="web"))
    try:
        for mode, (expected, decided) in NORMALIZED.items():
            # A path that can be read in two ways would be refused otherwise: a policy asks about paths.
            configure(pathNormalization={"normalization": mode}, hauberk={"ambiguousPaths": "ALLOW"})
            seen = json.loads(ask(shop, names[mode], "http", "web", 8080, path="/a/../b//c%2Fd")["body"])["path"]
            statuses = {path: ask(shop, names[mode], "http", "web", 8080, path=path)["status"] for path in decided}
            assert (mode, seen, statuses) == (mode, expected, decided)
    finally:
        shop.delete("AuthorizationPolicy", "no-secrets")


def test_settings_that_have_no_effect_are_named_and_the_others_hold(shop: MeshNamespace, configure: Configure) -> None:
    problems = configure(
        outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}, enableTracing=True, rootNamespace="elsewhere", enableAutoMtls=False
    )
    assert {each["severity"] for each in problems} == {"warning"}
    text = " ".join(f"{each['path']} {each['message']}" for each in problems)
    assert [name for name in ("enableTracing", "root namespace", "mutual TLS") if name not in text] == []
    assert outside(shop) == [False, False]


def test_the_trust_domain_cannot_be_changed_under_a_root_that_was_made_for_another(shop: MeshNamespace, configure: Configure) -> None:
    with pytest.raises(MeshFailed, match="the trust domain is cluster"):
        configure(trustDomain="other.example")
    assert configure(trustDomain="cluster.local") == []
    assert ask(shop, "client", "http", "web", 8080)["status"] == 200


SHOWN = """
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["istio"])
with context.wrap_socket(socket.create_connection((sys.argv[1], 8080), timeout=5)) as line:
    print(ssl.DER_cert_to_PEM_cert(line.getpeercert(binary_form=True)))
"""


def names_shown(mesh: MeshNamespace, name: str) -> tuple[list[str], list[str]]:
    """The DNS names and the URIs of the certificate that the pod shows to a stranger."""
    address = mesh.get("pods", name)["status"]["podIP"]
    shown = x509.load_pem_x509_certificate(mesh.exec("away", sys.executable, "-c", SHOWN, address).check().stdout.encode())
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(names.get_values_for_type(x509.DNSName)), names.get_values_for_type(x509.UniformResourceIdentifier)


def test_certificates_name_the_services_of_a_pod_if_the_settings_say_so_and_policies_go_by_the_identity(
    shop: MeshNamespace, configure: Configure
) -> None:
    assert names_shown(shop, "web")[0] == []
    assert configure(hauberk={"dnsNames": True}) == []
    callers = ("friend", "stranger")
    for name in ("named", *callers):
        objects.apply(shop, objects.account(name), objects.service(name, port(8080, "http")))
    objects.apply(shop, objects.pod("named", server_command("http@[::]:8080"), account="named"))
    objects.apply(shop, *(objects.idle(name, account=name) for name in callers))
    shop.ready("named", *callers)
    friend = rule(source={"principals": [f"cluster.local/ns/{shop.name}/sa/friend"]})
    objects.apply(shop, authorization_policy("friends", "ALLOW", friend, app="named"))
    try:
        expected = [f"named.{shop.name}.svc", f"named.{shop.name}.svc.cluster.local"]
        assert names_shown(shop, "named") == (expected, [f"spiffe://cluster.local/ns/{shop.name}/sa/named"])
        assert [ask(shop, name, "http", "named", 8080)["status"] for name in callers] == [200, 403]
    finally:
        shop.delete("AuthorizationPolicy", "friends")


def test_what_is_no_setting_is_an_error_and_changes_nothing(shop: MeshNamespace, configure: Configure) -> None:
    configure(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
    for wrong in ({"outboundTrafficPolicy": {"mode": "SOMETIMES"}}, {"noSuchSetting": 1}):
        with pytest.raises(MeshFailed, match=r"data\.mesh"):
            configure(**wrong)
    assert outside(shop) == [False, False]
