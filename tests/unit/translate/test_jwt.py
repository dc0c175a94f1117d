"""What the filter that verifies tokens is told. What a real Envoy makes of it is in tests/e2e/test_dataplane_jwt.py."""

from __future__ import annotations

import re
from typing import Any

import pytest
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2
from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource
from tests.unit.mesh.mesh_objects import key, pod, service
from tests.unit.policy.jwt_cases import ALICE, BOB, RSA, STRANGER, jwks

from hauberk.api.metadata import ObjectKey
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.envoy.name import BLACK_HOLE
from hauberk.mesh.issuer_keys import IssuerKeys, KeySource
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot
from hauberk.translate import jwt
from hauberk.translate.inbound import translate_inbound
from hauberk.xds.resource import EXTENSION, Resource

RULE: dict[str, Any] = {"issuer": ALICE, "jwks": jwks(("a", RSA))}
OTHER: dict[str, Any] = {"issuer": BOB, "jwks": jwks(("b", STRANGER))}
OUTPUT: dict[str, Any] = {"outputClaimToHeaders": [{"header": "X-User", "claim": "sub"}]}


def authentication(*rules: dict[str, Any], name: str = "users") -> RequestAuthentication:
    return RequestAuthentication.model_validate({"metadata": {"name": name, "namespace": "shop"}, "spec": {"jwtRules": list(rules)}})


def mesh(*rules: dict[str, Any], before: MeshSnapshot | None = None, keys: dict[KeySource, IssuerKeys] | None = None) -> MeshSnapshot:
    objects = [pod("web"), pod("tv", ip="10.244.0.3"), service("web")]
    return build_snapshot([*objects, *([authentication(*rules)] if rules else [])], before, keys=keys)


def resources(snapshot: MeshSnapshot, name: str = "web") -> dict[tuple[str, str], Resource]:
    return {(each.type_url, each.name): each for each in translate_inbound(snapshot, key("Pod", name))}


def told(snapshot: MeshSnapshot) -> config_pb2.JwtAuthentication:
    encoded = EncodedResource.FromString(resources(snapshot)[EXTENSION, jwt.FILTER].encoded)
    named = extension_pb2.TypedExtensionConfig.FromString(encoded.resource.value)
    assert named.name == jwt.FILTER
    return config_pb2.JwtAuthentication.FromString(named.typed_config.value)


def purposes(snapshot: MeshSnapshot) -> list[str]:
    """Which providers are asked, in order."""
    (requirement,) = told(snapshot).requirement_map.values()
    groups = requirement.requires_all.requirements or [requirement]
    return [each.provider_name for group in groups for each in group.requires_any.requirements if each.provider_name]


def test_without_any_rule_the_filter_is_told_nothing_and_is_not_asked() -> None:
    snapshot = mesh()
    found = told(snapshot)
    assert (list(found.providers), list(found.requirement_map)) == ([], ["hauberk"])
    assert not any(jwt.FILTER.encode() in each.encoded for each in resources(snapshot).values() if "Route" in each.type_url)


def test_each_place_is_asked_by_itself_and_the_most_important_last() -> None:
    assert purposes(mesh(RULE)) == ["verify-0-param[access_token]", "verify-0-header[authorization][Bearer ]"]
    places = {"fromHeaders": [{"name": "X-T"}, {"name": "Authorization", "prefix": "B "}], "fromParams": ["p"], "fromCookies": ["c"]}
    assert [name.partition("-0-")[2] for name in purposes(mesh({**RULE, **places}))] == [
        "cookie[c]",
        "param[p]",
        "header[x-t]",
        "header[authorization][B ]",
    ]


@pytest.mark.parametrize("outputs", [{}, OUTPUT, {"outputPayloadToHeader": "x-p"}], ids=["none", "claim", "payload"])
@pytest.mark.parametrize(
    "places",
    [
        *({"fromHeaders": [{"name": "x-t"}]}, {"fromParams": ["p"]}, {"fromCookies": ["c"]}),
        *({}, {"fromHeaders": [{"name": "x-t"}], "fromCookies": ["c"]}, {"fromParams": ["p", "q"]}),
    ],
    ids=str,
)
@pytest.mark.parametrize("issuers", [[RULE], [RULE, OTHER]], ids=len)
def test_envoy_is_given_no_list_of_one(issuers: list[dict[str, Any]], places: dict[str, Any], outputs: dict[str, Any]) -> None:
    """It refuses all of a configuration with one, and goes on with the rules it had: none, in the end."""
    (whole,) = told(mesh(*({**rule, **places, **outputs} for rule in issuers))).requirement_map.values()
    questions = whole.requires_all.requirements or [whole]
    assert not whole.HasField("requires_all") or len(questions) > 1
    assert all(len(each.requires_any.requirements) > 1 for each in questions)


def test_headers_are_written_once_and_taken_from_every_caller_first() -> None:
    asked = purposes(mesh({**RULE, **OUTPUT}, {**OTHER, "outputPayloadToHeader": "X-Payload"}))
    assert asked[0] == "strip"
    assert [name.partition("-")[0] for name in asked] == ["strip", *["output"] * 4, *["verify"] * 4]
    stripped = told(mesh({**RULE, **OUTPUT}, {**OTHER, "outputPayloadToHeader": "X-Payload"})).providers["strip"]
    assert [each.header_name for each in stripped.claim_to_headers] == ["x-payload", "x-user"]


@pytest.mark.parametrize(
    ("place", "header"), [({"fromHeaders": [{"name": "X-T"}]}, "x-t"), ({"fromCookies": ["c"]}, "Cookie"), ({}, "authorization")], ids=str
)
def test_nothing_is_written_where_another_rule_looks_for_tokens(place: dict[str, Any], header: str) -> None:
    """Envoy would take the token away before it looked at it, and every request would be without one."""
    writes = {
        "outputPayloadToHeader": header,
        "outputClaimToHeaders": [{"header": header, "claim": "a"}, {"header": "x-user", "claim": "sub"}],
    }
    for provider in told(mesh({**RULE, **place}, {**OTHER, "fromHeaders": [{"name": "x-o"}], **writes})).providers.values():
        assert not provider.forward_payload_header
        assert {each.header_name for each in provider.claim_to_headers} <= {"x-user"}


def test_only_one_question_shows_the_program_anything_and_only_another_takes_the_token_away() -> None:
    for name, provider in told(mesh({**RULE, **OUTPUT})).providers.items():
        purpose = name.partition("-")[0]
        assert bool(provider.claim_to_headers) == (purpose in ("strip", "output"))
        assert provider.forward == (purpose == "output")
        assert bool(provider.payload_in_metadata) == (purpose == "verify")


def test_an_issuer_whose_keys_are_not_known_has_none_and_is_asked_all_the_same() -> None:
    source = KeySource("https://keys.example/")
    rule = {"issuer": ALICE, "jwksUri": source.uri}
    for known in ({}, {source: IssuerKeys(problem="gone")}):
        for provider in told(mesh(rule, keys=known)).providers.values():
            assert provider.issuer == ALICE
            assert provider.remote_jwks.http_uri.cluster == BLACK_HOLE
            assert not provider.HasField("local_jwks")
    for provider in told(mesh(rule, keys={source: IssuerKeys("THE KEYS")})).providers.values():
        assert provider.local_jwks.inline_string == "THE KEYS"
        assert not provider.HasField("remote_jwks")


def test_changed_keys_change_one_resource_and_no_route_or_listener() -> None:
    source = KeySource("https://keys.example/")
    rule = {"issuer": ALICE, "jwksUri": source.uri}
    before = mesh(rule, keys={source: IssuerKeys("OLD")})
    first = resources(before)
    second = resources(mesh(rule, before=before, keys={source: IssuerKeys("NEW")}))
    assert [name for name in first if first[name].version != second[name].version] == [(EXTENSION, jwt.FILTER)]


def test_workloads_with_the_same_rules_share_one_resource_that_leads_home() -> None:
    snapshot = mesh(RULE)
    mine, other = (resources(snapshot, name)[EXTENSION, jwt.FILTER] for name in ("web", "tv"))
    assert mine is other
    assert mine.origins == ("RequestAuthentication/shop/users",)


def test_equal_rules_give_equal_bytes_in_whatever_order_they_come() -> None:
    one, two = authentication(RULE, name="a"), authentication(OTHER, name="b")
    made = [build_snapshot([pod("web"), *order], None) for order in ([one, two], [two, one])]
    first, second = (snapshot.inbound[ObjectKey("Pod", "shop", "web")].tokens for snapshot in made)
    assert jwt.encode_tokens(first).encoded == jwt.encode_tokens(second).encoded


def test_claims_that_are_lists_in_one_text_are_named_once() -> None:
    rule = {**RULE, "spaceDelimitedClaims": ["roles", "scope"]}
    for provider in told(mesh(rule)).providers.values():
        assert list(provider.normalize_payload_in_metadata.space_delimited_claims) == ["scope", "permission", "roles"]


def test_names_of_places_are_no_patterns() -> None:
    rule = {**RULE, "fromHeaders": [{"name": "x-t", "prefix": "(a|b)*"}], "fromParams": ["t.k"], "fromCookies": ["a+b"]}
    found = b"".join(each.encoded for each in resources(mesh(rule)).values() if "Route" in each.type_url).decode("latin-1")
    for text in (r"\(a\|b\)\*", r"(?:t|%(?i:74))(?:\.|%(?i:2e))(?:k|%(?i:6b))", r"a\+b="):
        assert text in found, re.escape(text)
