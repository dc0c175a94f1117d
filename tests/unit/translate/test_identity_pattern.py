from __future__ import annotations

import re

import pytest

from hauberk.translate.identity_pattern import Pattern, namespace_pattern, principal_patterns, service_account_pattern

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
    patterns = principal_patterns(value, "cluster.local")
    assert all(any(means(p, identity) for p in patterns) for identity in matches)
    assert not any(means(p, identity) for p in patterns for identity in does_not)


def test_cluster_local_means_the_meshs_own_trust_domain_too() -> None:
    found = principal_patterns("cluster.local/ns/shop/sa/web", "corp.example")
    assert {p.text for p in found} == {"spiffe://corp.example/ns/shop/sa/web", WEB}
    assert [p.text for p in principal_patterns("other.example/ns/a/sa/b", "corp.example")] == ["spiffe://other.example/ns/a/sa/b"]


@pytest.mark.parametrize(
    ("value", "namespace", "expected"),
    [
        *(("shop", "shop", True), ("shop", "shop2", False), ("shop", "workshop", False), ("sh*", "shop", True)),
        *(("*op", "shop", True), ("s.op", "shop", False), ("a*c", "abc", True)),
    ],
)
def test_a_namespace_is_a_whole_segment_with_stars_for_any_text(value: str, namespace: str, expected: bool) -> None:
    assert means(namespace_pattern(value), f"spiffe://cluster.local/ns/{namespace}/sa/web") is expected


def test_a_service_account_is_of_the_policys_namespace_unless_it_says_another() -> None:
    assert means(service_account_pattern("web", "shop"), WEB)
    assert not means(service_account_pattern("web", "other"), WEB)
    assert means(service_account_pattern("shop/web", "other"), WEB)
    assert not means(service_account_pattern("w.b", "shop"), WEB)
    assert not means(service_account_pattern("we", "shop"), WEB)


def test_no_character_of_a_user_is_special_to_the_pattern() -> None:
    for character in "\\.+?()|[]{}^$":
        assert means(namespace_pattern(f"a{character}b"), f"spiffe://x/ns/a{character}b/sa/c")
        assert not means(namespace_pattern(f"a{character}b"), "spiffe://x/ns/ab/sa/c")
