"""Every field and condition as a question."""

import gc
from typing import Any

import pytest

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.policy.facts import observe
from hauberk.policy.matching import rule_matches
from hauberk.policy.normalize import normalize
from hauberk.policy.request import Peer, Request
from hauberk.policy.trust_domains import TrustDomains

DOMAINS = TrustDomains()
PEER = Peer("spiffe://cluster.local/ns/shop/sa/web", "10.1.2.3", "192.0.2.7")
REQUEST = Request(
    port=8080,
    method="GET",
    path="/users/7/cart?x",
    host="Orders.shop:80",
    headers={"x-tenant": ("acme", "umbrella")},
    sni="orders.shop",
    claims={
        "iss": "https://id.example/realm",
        "sub": "anna",
        "aud": ["shop", "bank"],
        "azp": "app",
        "groups": ["reader"],
        "realm": {"roles": ["admin", 7]},
        "scope": "read write",
        "age": 7,
        "ok": True,
    },
    metadata={"envoy.filters.http.x": {"k": "v", "l": ["m", "n"]}},
    destination_ip="::ffff:10.9.9.9",
)


def policy(rule: dict[str, Any]) -> AuthorizationPolicy:
    return AuthorizationPolicy.model_validate({"metadata": {"name": "p", "namespace": "shop"}, "spec": {"rules": [rule]}})


def matches(rule: dict[str, Any], request: Request = REQUEST, peer: Peer = PEER) -> bool:
    return rule_matches(normalize(policy(rule), DOMAINS).rules[0], observe(request, peer))


def source(field: str, value: str) -> dict[str, Any]:
    return {"from": [{"source": {field: [value]}}]}


def operation(field: str, value: str) -> dict[str, Any]:
    return {"to": [{"operation": {field: [value]}}]}


MEANT = [
    *(source("principals", value) for value in ("cluster.local/ns/shop/sa/web", "*", "*/web")),
    *(source("namespaces", value) for value in ("shop", "sh*")),
    *(source("serviceAccounts", value) for value in ("web", "shop/web")),
    *(source("trustDomains", value) for value in ("cluster.local", "*")),
    *(source("requestPrincipals", value) for value in ("*", "https://id.example/realm/anna", "https://id.example/realm/*")),
    *(source("requestPrincipals", value) for value in ("*/anna", "*anna", "https*", "*realm/anna", "https://id.example/realm/an*")),
    *(source("ipBlocks", value) for value in ("10.1.0.0/16", "10.1.2.3")),
    source("remoteIpBlocks", "192.0.2.0/24"),
    *(operation("hosts", value) for value in ("orders.shop", "ORDERS.shop:80", "*.shop", "orders*", "*")),
    *(operation("methods", value) for value in ("GET", "G*", "*")),
    *(operation("paths", value) for value in ("/users/7/cart", "/users/*", "*/cart", "/users/{*}/cart", "/users/{**}", "/{*}/{**}/cart")),
    operation("ports", "8080"),
]
NOT_MEANT = [
    *(source("principals", value) for value in ("cluster.local/ns/shop/sa/we", "*/we")),
    source("serviceAccounts", "bank/web"),
    source("trustDomains", "other"),
    *(source("requestPrincipals", value) for value in ("anna", "https://id.example/*", "*/ann", "http:*")),
    source("ipBlocks", "2001:db8::/32"),
    source("remoteIpBlocks", "10.1.2.3"),
    *(operation("hosts", value) for value in ("orders", "orders.shop:8080")),
    operation("methods", "get"),
    *(operation("paths", value) for value in ("/users", "/users/{*}", "/users/7/cart?x", "/users/7/cart/{**}")),
    operation("ports", "80"),
]


@pytest.mark.parametrize("rule", MEANT, ids=str)
def test_a_field_matches_what_it_means_and_its_negative_form_does_not(rule: dict[str, Any]) -> None:
    assert matches(rule)
    assert not matches(negative(rule))


@pytest.mark.parametrize("rule", NOT_MEANT, ids=str)
def test_a_field_does_not_match_what_it_does_not_mean_and_its_negative_form_does(rule: dict[str, Any]) -> None:
    assert not matches(rule)
    assert matches(negative(rule))


def negative(rule: dict[str, Any]) -> dict[str, Any]:
    (name, ((entry),)) = next(iter(rule.items()))
    ((kind, fields),) = entry.items()
    ((field, values),) = fields.items()
    return {name: [{kind: {f"not{field[0].upper()}{field[1:]}": values}}]}


CONDITIONS = [
    ("request.headers[X-Tenant]", "acme,umbrella", "acme"),
    ("request.headers[x-tenant]", "*", "umbrella*"),
    ("request.headers[host]", "Orders.shop:80", "orders.shop"),
    ("source.ip", "10.0.0.0/8", "11.0.0.0/8"),
    ("remote.ip", "192.0.2.7", "10.1.2.3"),
    ("source.namespace", "shop", "bank"),
    ("source.serviceAccount", "web", "bank/web"),
    ("source.principal", "*/web", "web"),
    ("source.trustDomain", "cluster.local", "local"),
    ("request.auth.principal", "*/anna", "*/bert"),
    ("request.auth.audiences", "bank", "ban"),
    ("request.auth.presenter", "app", "shop"),
    ("request.auth.claims[groups]", "reader", "writer"),
    ("request.auth.claims[realm][roles]", "adm*", "7"),
    ("request.auth.claims[scope]", "write", "read write"),
    ("request.auth.claims[iss]", "https*", "*/anna"),
    ("destination.ip", "10.9.9.9", "10.9.9.8"),
    ("destination.port", "8080", "80"),
    ("connection.sni", "*.shop", "shop"),
    ("experimental.envoy.filters.http.x[k]", "v", "w"),
    ("experimental.envoy.filters.http.x[l]", "[n]", "n"),
]


@pytest.mark.parametrize(("key", "meant", "other"), CONDITIONS)
def test_a_condition_matches_what_it_means(key: str, meant: str, other: str) -> None:
    assert matches({"when": [{"key": key, "values": [meant]}]})
    assert not matches({"when": [{"key": key, "values": [other]}]})
    assert not matches({"when": [{"key": key, "values": [meant], "notValues": [meant]}]})
    assert matches({"when": [{"key": key, "notValues": [other]}]})


@pytest.mark.parametrize(("key", "meant", "other"), CONDITIONS)
def test_what_is_absent_meets_no_value_and_every_negative_form(key: str, meant: str, other: str) -> None:
    nothing = Request(port=1, path="/")
    if key != "request.headers[host]":
        assert not matches({"when": [{"key": key, "values": [meant]}]}, nothing, Peer())
        assert matches({"when": [{"key": key, "notValues": [meant, other]}]}, nothing, Peer())


@pytest.mark.parametrize("claim", ["age", "ok", "realm", "missing"])
def test_a_claim_that_is_no_text_matches_nothing(claim: str) -> None:
    assert not matches({"when": [{"key": f"request.auth.claims[{claim}]", "values": ["*", "7", "true"]}]})


def test_a_policy_has_one_normal_form_and_none_when_it_is_gone() -> None:
    one = policy({})
    assert normalize(one, DOMAINS) is normalize(one, DOMAINS)
    assert normalize(one, TrustDomains(own="x")) is not normalize(one, DOMAINS)
    del one
    gc.collect()


def test_a_question_says_where_it_is_written() -> None:
    rule = normalize(
        policy({**source("notRemoteIpBlocks", "10.0.0.1"), "when": [{"key": "source.ip", "notValues": ["::1"]}]}), DOMAINS
    ).rules[0]
    assert rule.sources[0][0].path == "spec.rules[0].from[0].source.notRemoteIpBlocks"
    assert rule.conditions[0].path == "spec.rules[0].when[0].notValues"
    assert rule.conditions[0].values == ("::1",)
