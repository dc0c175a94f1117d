from __future__ import annotations

import re

import pytest

from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.identity_pattern import Pattern, namespace_pattern, principal_patterns, service_account_pattern

OWN = TrustDomains()
WEB = "spiffe://cluster.local/ns/shop/sa/web"


def means(pattern: Pattern, identity: str) -> bool:
    match pattern.kind:
        case "exact":
            return identity == pattern.text
        case "prefix":
            return identity.startswith(pattern.text)
        case "regex":
            return re.fullmatch(pattern.text, identity) is not None


@pytest.mark.parametrize(
    ("value", "matches", "does_not"),
    [
        ("cluster.local/ns/shop/sa/web", [WEB], [WEB + "x", "spiffe://clusterxlocal/ns/shop/sa/web"]),
        ("cluster.local/ns/shop/*", [WEB], ["spiffe://cluster.local/ns/shopping/sa/web"]),
        ("*/sa/web", [WEB, "spiffe://other/ns/a/sa/web"], [WEB + "x", "spiffe://cluster.local/ns/shop/saxweb"]),
        ("*", [WEB, "spiffe://a/b"], [""]),
    ],
)
def test_a_principal_means_exactly_what_it_says(value: str, matches: list[str], does_not: list[str]) -> None:
    patterns = principal_patterns(value, OWN)
    assert all(any(means(p, identity) for p in patterns) for identity in matches)
    assert not any(means(p, identity) for p in patterns for identity in does_not)


def test_cluster_local_means_the_meshs_own_trust_domain_too() -> None:
    corp = TrustDomains("corp.example")
    found = principal_patterns("cluster.local/ns/shop/sa/web", corp)
    assert [p.text for p in found] == ["spiffe://corp.example/ns/shop/sa/web"]
    assert [p.text for p in principal_patterns("other.example/ns/a/sa/b", corp)] == ["spiffe://other.example/ns/a/sa/b"]


@pytest.mark.parametrize("value", ["old.example/ns/shop/sa/web", "new.example/ns/shop/*", "cluster.local/ns/shop/sa/web"])
def test_a_principal_of_one_of_the_meshs_names_means_all_of_them(value: str) -> None:
    patterns = principal_patterns(value, TrustDomains("new.example", ("old.example",), ("b.example",)))
    for domain, expected in (("old.example", True), ("new.example", True), ("b.example", False), ("oldxexample", False)):
        assert any(means(p, f"spiffe://{domain}/ns/shop/sa/web") for p in patterns) is expected


def test_a_namespace_and_an_account_are_never_those_of_a_foreign_domain() -> None:
    domains = TrustDomains("a.example", ("old.example",), ("b.example",))
    for pattern in (namespace_pattern("shop", domains), service_account_pattern("web", "shop", domains)):
        accepted = [d for d in ("a.example", "old.example", "b.example", "aXexample") if means(pattern, f"spiffe://{d}/ns/shop/sa/web")]
        assert accepted == ["a.example", "old.example"]


@pytest.mark.parametrize(
    ("value", "namespace", "expected"),
    [
        *(("shop", "shop", True), ("shop", "shop2", False), ("shop", "workshop", False), ("sh*", "shop", True)),
        *(("*op", "shop", True), ("s.op", "shop", False), ("a*c", "abc", True)),
    ],
)
def test_a_namespace_is_a_whole_segment_with_stars_for_any_text(value: str, namespace: str, expected: bool) -> None:
    assert means(namespace_pattern(value, OWN), f"spiffe://cluster.local/ns/{namespace}/sa/web") is expected


def test_a_service_account_is_of_the_policys_namespace_unless_it_says_another() -> None:
    assert means(service_account_pattern("web", "shop", OWN), WEB)
    assert not means(service_account_pattern("web", "other", OWN), WEB)
    assert means(service_account_pattern("shop/web", "other", OWN), WEB)
    assert not means(service_account_pattern("w.b", "shop", OWN), WEB)
    assert not means(service_account_pattern("we", "shop", OWN), WEB)


def test_no_character_of_a_user_is_special_to_the_pattern() -> None:
    for character in "\\.+?()|[]{}^$":
        assert means(namespace_pattern(f"a{character}b", OWN), f"spiffe://x/ns/a{character}b/sa/c")
        assert not means(namespace_pattern(f"a{character}b", OWN), "spiffe://x/ns/ab/sa/c")
