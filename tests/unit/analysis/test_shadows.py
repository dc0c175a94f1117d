"""Rules and policies that others make superfluous."""

import pytest
from tests.unit.analysis.rule_base import policy, said

WEB = "selector: {matchLabels: {app: web}}"


def rules(*texts: str, action: str = "ALLOW", more: str = WEB, name: str = "p", namespace: str = "shop", **also: str) -> str:
    return policy(name, f"{{{more}, action: {action}, rules: [{', '.join(f'{{{text}}}' for text in texts)}]}}", namespace=namespace, **also)


def source(text: str) -> str:
    return f"from: [{{source: {{{text}}}}}]"


def operation(*texts: str) -> str:
    return f"to: [{', '.join(f'{{operation: {{{text}}}}}' for text in texts)}]"


def superfluous(*documents: str) -> list[tuple[str, str, str]]:
    return [each for each in said(*documents) if each[0] in ("HBK0340", "HBK0341", "HBK0342")]


WIDER = [
    (source("principals: ['cluster.local/ns/shop/*']"), source("principals: [cluster.local/ns/shop/sa/web]")),
    (source("namespaces: [shop]"), source("principals: [cluster.local/ns/shop/sa/web]")),
    (source("namespaces: [shop]"), source("principals: ['cluster.local/ns/shop/*']")),
    (source("principals: ['*']"), source("namespaces: ['sh*']")),
    (source("principals: ['*/sa/web']"), source("principals: [cluster.local/ns/shop/sa/web]")),
    (source("trustDomains: [cluster.local]"), source("principals: [cluster.local/ns/shop/sa/web]")),
    (source("notNamespaces: [shop]"), source("notNamespaces: [shop, bank]")),
    (source("ipBlocks: [10.0.0.0/8]"), source("ipBlocks: [10.1.0.0/16, 10.2.3.4]")),
    (source("requestPrincipals: ['https://a.example/*']"), source("requestPrincipals: ['https://a.example/alice']")),
    ("when: [{key: source.principal, values: ['*']}]", source("principals: [cluster.local/ns/shop/sa/web]")),
    (operation("methods: [GET, HEAD]"), operation("methods: [GET]")),
    (operation("paths: ['/a*']"), operation("paths: ['/a/*', /ab]")),
    (operation("paths: ['/a/{*}']"), operation("paths: [/a/b]")),
    (operation("hosts: ['*.SHOP.example']"), operation("hosts: [a.shop.example]")),
    (operation("notPorts: ['9090']"), operation("ports: ['8080']")),
    (operation("paths: [/a]", "methods: [GET]"), operation("paths: [/b], methods: [GET]", "paths: [/a], methods: [PUT]")),
    ("when: [{key: 'request.headers[a]', values: ['*']}]", "when: [{key: 'request.headers[A]', values: [b]}]"),
    ("when: [{key: 'request.auth.claims[a]', notValues: [b]}]", "when: [{key: 'request.auth.claims[a]', notValues: [b, c]}]"),
    (source("namespaces: [shop]"), f"{source('principals: [cluster.local/ns/shop/sa/web]')}, {operation('paths: [/a]')}"),
]


@pytest.mark.parametrize(("wide", "narrow"), WIDER)
def test_a_rule_that_a_wider_one_covers_is_told_and_the_wider_one_is_not(wide: str, narrow: str) -> None:
    assert superfluous(rules(wide, narrow)) == [("HBK0340", "p", "spec.rules[1]")]
    assert superfluous(rules(narrow, wide)) == [("HBK0340", "p", "spec.rules[0]")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (source("namespaces: [shop]"), source("namespaces: [shop, bank], notPrincipals: ['*']")),
        (source("principals: ['cluster.local/ns/shop*']"), source("namespaces: ['shop*']")),
        (source("principals: ['*'], ipBlocks: [10.0.0.0/8]"), source("principals: ['*'], ipBlocks: [192.0.2.0/24]")),
        (operation("paths: [/a]"), operation("methods: [GET]")),
        (operation("paths: ['/a*']"), operation("paths: ['*a']")),
        (operation("paths: ['/a/{*}']"), operation("paths: ['/a/b/c']")),
        ("when: [{key: 'request.auth.claims[a]', values: [b]}]", "when: [{key: 'request.auth.claims[a]', notValues: [c]}]"),
        ("when: [{key: 'request.headers[a]', values: [b]}]", "when: [{key: 'request.headers[b]', values: [b]}]"),
        (source("ipBlocks: [10.0.0.0/8]"), source("remoteIpBlocks: [10.1.0.0/16]")),
    ],
)
def test_rules_that_only_overlap_are_both_needed(one: str, other: str) -> None:
    assert superfluous(rules(one, other)) == []


def test_of_two_equal_rules_the_later_is_superfluous() -> None:
    assert superfluous(rules(source("namespaces: [shop]"), source("namespaces: [shop]"))) == [("HBK0340", "p", "spec.rules[1]")]


def test_what_is_denied_before_is_never_allowed() -> None:
    allowed = rules(source("principals: [cluster.local/ns/shop/sa/web]"), name="a")
    denied = rules(source("namespaces: [shop]"), name="d", action="DENY")
    assert superfluous(allowed, denied) == [("HBK0341", "a", "spec.rules[0]")]
    assert superfluous(allowed, denied.replace("namespaces: [shop]", "notNamespaces: [shop]")) == []
    # The other way round a denial of a part is what denials are for.
    narrow = rules(source("principals: [cluster.local/ns/shop/sa/web]"), name="d", action="DENY")
    assert superfluous(rules(source("namespaces: [shop]"), name="a"), narrow) == []


def test_only_what_acts_wherever_the_other_acts_covers_it() -> None:
    narrow, wide = rules(source("principals: [cluster.local/ns/shop/sa/web]"), name="slim"), source("namespaces: [shop]")
    for more, namespace, covered in (
        ("selector: {}", "shop", True),
        ("selector: {}", "istio-system", True),
        ("selector: {matchLabels: {app: web, tier: front}}", "shop", False),
        ("selector: {matchLabels: {app: db}}", "shop", False),
        ("selector: {}", "bank", False),
    ):
        found = superfluous(narrow, rules(wide, more=more, namespace=namespace, name="wide"))
        assert found == ([("HBK0340", "slim", "spec.rules[0]")] if covered else []), (more, namespace)


def test_a_rule_that_is_only_tried_makes_no_other_superfluous() -> None:
    narrow, wide = (
        rules(source("principals: [cluster.local/ns/shop/sa/web]"), name="slim"),
        rules(source("namespaces: [shop]"), name="wide"),
    )
    tried = "annotations: {istio.io/dry-run: 'true'}"
    assert superfluous(narrow, wide.replace("namespace: shop", f"namespace: shop, {tried}", 1)) == []
    assert superfluous(narrow.replace("namespace: shop", f"namespace: shop, {tried}", 1), wide) == []


def test_policies_that_ask_different_services_are_both_needed() -> None:
    one = policy("a", "{action: CUSTOM, provider: {name: opa}, rules: [{}]}")
    assert superfluous(one, policy("b", "{action: CUSTOM, provider: {name: other}, rules: [{}]}")) == []
    assert superfluous(one, policy("b", "{action: CUSTOM, provider: {name: opa}, rules: [{}]}")) == [("HBK0342", "b", "spec")]


def test_a_repeated_policy_is_told_once_and_as_a_whole() -> None:
    text = rules(source("namespaces: [shop]"), operation("paths: [/a]"), name="a")
    assert superfluous(text, text.replace("name: a", "name: b")) == [("HBK0342", "b", "spec")]
    assert superfluous(text, text.replace("name: a, namespace: shop", "name: b, namespace: bank")) == []


def test_a_thousand_policies_are_compared_by_what_they_name() -> None:
    texts = [rules(source(f"principals: [cluster.local/ns/shop/sa/p{number}]"), name=f"p{number}") for number in range(1000)]
    also = rules(source("principals: [cluster.local/ns/shop/sa/p7, cluster.local/ns/shop/sa/p8]"), name="both")
    assert superfluous(*texts, also) == [("HBK0340", "p7", "spec.rules[0]"), ("HBK0340", "p8", "spec.rules[0]")]
