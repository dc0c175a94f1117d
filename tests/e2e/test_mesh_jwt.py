"""Keys of end users' tokens: fetched from a real provider, followed through its rotations, and not from where they must not be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.e2e import identity_provider, objects, processes
from tests.e2e.callers import ask
from tests.e2e.identity_provider import HUGE, Provider, token
from tests.e2e.objects import Document, authorization_policy, port, rule
from tests.e2e.programs import server_command
from tests.e2e.waits import until
from tests.unit.policy.jwt_cases import jwks

from hauberk.testing.answer import MeshFailed
from hauberk.testing.mesh import running_mesh
from hauberk.testing.namespace import MeshNamespace

OLD, NEW = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with identity_provider.provider(tmp_path_factory.mktemp("provider"), "127.0.0.1", "127.0.0.2", "localhost") as made:
        yield made


@pytest.fixture(scope="module")
def shop(provider: Provider) -> Iterator[MeshNamespace]:
    """A server and a caller in a mesh that may ask this machine's first address for keys, and no other of them."""
    settings = {
        "HAUBERK_JWKS_ALLOWED_CIDRS": "127.0.0.0/8",
        "HAUBERK_JWKS_BLOCKED_CIDRS": "127.0.0.2/32",
        "HAUBERK_JWKS_CA_FILE": str(provider.authority),
        "HAUBERK_JWKS_REFRESH_SECONDS": "1",
    }
    with running_mesh("jwt", settings=settings) as mesh:
        namespace = mesh.namespace("shop")
        objects.apply(
            namespace,
            objects.pod("web", server_command("http@[::]:8080")),
            objects.service("web", port(8080, "http")),
            objects.idle("client"),
        )
        namespace.ready("web", "client")
        yield namespace


@pytest.fixture(autouse=True)
def nothing_left(shop: MeshNamespace, provider: Provider) -> Iterator[None]:
    provider.keys = (("old", OLD),)
    yield
    for plural, kind in (("requestauthentications", "RequestAuthentication"), ("authorizationpolicies", "AuthorizationPolicy")):
        if names := [each["metadata"]["name"] for each in shop.mesh.api("GET", f"/v1/objects/{plural}?namespace=shop")["items"]]:
            shop.delete(kind, *names)


def authentication(*rules: Document) -> Document:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "jwtRules": list(rules)}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": "users", "namespace": "shop"},
        "spec": spec,
    }


def status(shop: MeshNamespace, bearer: str = "") -> int:
    headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
    return int(ask(shop, "client", "http", "web", 8080, headers=headers)["status"])


def hauberk(shop: MeshNamespace, *words: str) -> str:
    command = [sys.executable, "-m", "hauberk", *words, "--mesh", shop.mesh.places.mesh]
    environment = {**os.environ, **shop.mesh.places.environment()}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment).stdout


def problems(shop: MeshNamespace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.mesh.api("GET", "/v1/status")["problems"]
    return found


@pytest.mark.parametrize("named", [True, False], ids=["by-uri", "by-discovery"])
def test_when_the_rule_is_applied_its_keys_are_there(shop: MeshNamespace, provider: Provider, named: bool) -> None:
    issuer = {"issuer": provider.issuer} | ({"jwksUri": provider.uri()} if named else {})
    assert objects.apply(shop, authentication(issuer))["problems"] == []
    found = [status(shop, each) for each in ("", token(provider, OLD, "old"), token(provider, NEW, "old"), token(provider, NEW, "new"))]
    assert found == [200, 200, 401, 401]
    objects.apply(shop, authorization_policy("users", "ALLOW", rule(source={"requestPrincipals": [f"{provider.issuer}/joe"]}), app="web"))
    assert [status(shop), status(shop, token(provider, OLD, "old"))] == [403, 200]


def test_a_rotation_at_the_provider_is_followed(shop: MeshNamespace, provider: Provider) -> None:
    objects.apply(shop, authentication({"issuer": provider.issuer, "jwksUri": provider.uri()}))
    old, new = token(provider, OLD, "old"), token(provider, NEW, "new")
    provider.keys = (("old", OLD), ("new", NEW))
    until(lambda: status(shop, new) == 200, "the new key")
    assert status(shop, old) == 200
    provider.keys = (("new", NEW),)
    until(lambda: status(shop, old) == 401, "the end of the old key")
    assert status(shop, new) == 200


def test_keys_outlive_their_provider_and_the_control_plane_and_both_troubles_are_told(shop: MeshNamespace, provider: Provider) -> None:
    objects.apply(shop, authentication({"issuer": provider.issuer, "jwksUri": provider.uri()}))
    good = token(provider, OLD, "old")
    provider.keys = ()
    until(lambda: bool(problems(shop)), "the provider's failure")
    (told,) = problems(shop)
    assert (told["code"], told["severity"], told["object"]) == ("HBK0608", "warning", "RequestAuthentication/shop/users")
    assert "still count" in told["message"]
    assert status(shop, good) == 200
    assert "and no newer ones: the set holds no key" in hauberk(shop, "describe", "ra", "users", "-n", "shop")
    assert f"issuer {provider.uri()}" in hauberk(shop, "status")
    before = processes.kill(shop.mesh, "control-plane")
    until(lambda: processes.find(shop.mesh, "control-plane") != before and bool(problems(shop)), "another control plane")
    # Whatever the sidecars are told now, they are told from what was kept.
    objects.apply(shop, authorization_policy("users", "ALLOW", rule(source={"requestPrincipals": ["*"]}), app="web"))
    assert [status(shop), status(shop, good)] == [403, 200]


def test_keys_are_not_fetched_from_where_they_must_not_be(shop: MeshNamespace, provider: Provider) -> None:
    """One rule each: of none a token is believed, and the good one beside them is not concerned."""
    bad = {
        "blocked": provider.uri(host="127.0.0.2"),
        "metadata": "http://169.254.169.254/latest/meta-data",
        "redirect": provider.uri("/redirect"),
        "huge": provider.uri("/huge"),
        "slow": provider.uri("/slow"),
        "absent": provider.uri("/absent"),
        "unknown": "https://nobody.invalid/keys",
    }
    rules = [{"issuer": f"https://{name}.example", "jwksUri": uri, "timeout": "1s"} for name, uri in bad.items()]
    asked = provider.asked.get("/keys", 0)
    with pytest.raises(MeshFailed, match="HBK0608") as refused:
        objects.apply(shop, authentication(*rules, {"issuer": provider.issuer, "jwks": jwks(("old", OLD))}))
    for said in ("local or special", "none is followed", "larger than", "no whole answer", "status 404", "leads nowhere"):
        assert said in str(refused.value), said
    assert provider.asked.get("/keys", 0) == asked
    assert provider.sent < HUGE // 16
    found = {name: status(shop, token(provider, OLD, "old", f"https://{name}.example")) for name in bad}
    assert found == dict.fromkeys(bad, 401)
    assert [status(shop), status(shop, token(provider, OLD, "old"))] == [200, 200]
    described = hauberk(shop, "describe", "ra", "users", "-n", "shop")
    assert described.count("NO KEYS, every token of it is refused") == len(bad)
    assert f"{provider.issuer}: its keys are in the rule" in described
