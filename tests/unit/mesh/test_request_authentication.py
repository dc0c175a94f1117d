"""Which issuers a workload knows, and with which keys."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.mesh.mesh_objects import key, pod, policy

from hauberk.api.request_authentication import RequestAuthentication
from hauberk.identity.jwk_key import encode_public_key
from hauberk.mesh.issuer_keys import IssuerKeys, KeySource, key_source
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot

JWK = encode_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
INLINE = json.dumps({"keys": [JWK]})


def authentication(name: str, *rules: dict[str, Any], namespace: str = "shop", app: str = "", **spec: Any) -> RequestAuthentication:
    selector = {"selector": {"matchLabels": {"app": app}}} if app else {}
    return RequestAuthentication.model_validate(
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"jwtRules": list(rules), **selector, **spec}}
    )


def rule(issuer: str, **fields: Any) -> dict[str, Any]:
    return {"issuer": issuer, "jwks": INLINE, **fields}


def issuers(snapshot: MeshSnapshot, name: str = "web") -> list[str]:
    return [each.rule.issuer for each in snapshot.inbound[key("Pod", name)].tokens]


def test_rules_of_all_objects_that_select_a_workload_add_up_by_issuer() -> None:
    snapshot = build_snapshot(
        [
            pod("web"),
            pod("tv", ip="10.244.0.3"),
            authentication("b", rule("https://c"), rule("https://a"), app="web"),
            authentication("mesh", rule("https://b"), namespace="istio-system"),
            authentication("other", rule("https://d"), namespace="elsewhere"),
        ],
        None,
    )
    assert issuers(snapshot) == ["https://a", "https://b", "https://c"]
    assert issuers(snapshot, "tv") == ["https://b"]


def test_what_is_attached_by_name_concerns_no_sidecar() -> None:
    target: dict[str, Any] = {"targetRefs": [{"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "x"}]}
    assert issuers(build_snapshot([pod("web"), authentication("a", rule("https://a"), **target)], None)) == []


def test_the_same_issuer_twice_is_two_rules_in_an_order_of_their_own() -> None:
    objects = [pod("web"), authentication("z", rule("https://a")), authentication("b", rule("https://a"))]
    for order in (objects, objects[::-1]):
        found = build_snapshot(order, None).inbound[key("Pod", "web")].tokens
        assert [(each.origin.name, each.path) for each in found] == [("b", "spec.jwtRules[0]"), ("z", "spec.jwtRules[0]")]


def test_keys_come_from_the_rule_or_from_where_it_says() -> None:
    inline, by_uri, by_issuer = (
        each.spec.jwt_rules[0]
        for each in (
            authentication("a", rule("https://a", jwksUri="https://keys")),
            authentication("b", {"issuer": "https://a", "jwksUri": "https://keys"}),
            authentication("c", {"issuer": "https://a"}),
        )
    )
    assert key_source(inline) is None
    assert key_source(by_uri) == KeySource("https://keys")
    assert key_source(by_issuer) == KeySource("", "https://a")
    assert "discovery document of https://a" in str(key_source(by_issuer))


def test_keys_that_are_not_known_are_nobodys_and_those_that_become_known_concern_only_their_own_workloads() -> None:
    objects = [
        pod("web"),
        pod("tv", ip="10.244.0.3"),
        authentication("web", {"issuer": "https://a", "jwksUri": "https://keys"}, app="web"),
        authentication("tv", rule("https://b"), app="tv"),
    ]
    before = build_snapshot(objects, None)
    (unknown,) = before.inbound[key("Pod", "web")].tokens
    assert (unknown.keys.jwks, "not been fetched" in unknown.keys.problem) == ("", True)
    after = build_snapshot(objects, before, keys={KeySource("https://keys"): IssuerKeys("keys")})
    assert after.inbound[key("Pod", "web")].tokens[0].keys == IssuerKeys("keys")
    assert after.inbound[key("Pod", "tv")] is before.inbound[key("Pod", "tv")]
    # Nothing is forgotten by a change of objects.
    again = build_snapshot([*objects, policy("p")], after)
    assert again.inbound[key("Pod", "web")].tokens[0].keys == IssuerKeys("keys")


def test_keys_in_the_rule_that_verify_nothing_leave_nobody_to_believe() -> None:
    snapshot = build_snapshot(
        [pod("web"), authentication("a", rule("https://a", jwks='{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'))], None
    )
    (found,) = snapshot.inbound[key("Pod", "web")].tokens
    assert found.keys.jwks == ""
    assert "shared secret" in found.keys.problem


def test_workloads_that_the_same_objects_select_share_one_tuple() -> None:
    pods = [pod(f"web-{number}", app="web", ip=f"10.244.0.{number}") for number in range(2, 5)]
    snapshot = build_snapshot([*pods, authentication("a", rule("https://a"), rule("https://b"))], None)
    assert len({id(each.tokens) for each in snapshot.inbound.values()}) == 1


def test_what_is_more_than_a_sidecar_can_be_told_is_nobodys_and_the_rest_is_not_concerned() -> None:
    uris = [f"https://{number}" for number in range(3)]
    rules = [{"issuer": uri, "jwksUri": uri, "fromHeaders": [{"name": f"x-{each}"} for each in range(8)]} for uri in uris]
    keys = {KeySource(uri): IssuerKeys("k" * 60_000) for uri in uris}
    snapshot = build_snapshot([pod("web"), authentication("a", *rules)], None, keys=keys)
    found = [each.keys for each in snapshot.inbound[key("Pod", "web")].tokens]
    assert [bool(each.jwks) for each in found] == [True, True, False]
    assert "larger than" in found[2].problem
