"""Which callers the values of a policy mean."""

from hauberk.policy.identity import namespace_pattern, principal_patterns, service_account_pattern, trust_domain_patterns
from hauberk.policy.pattern import TextPattern
from hauberk.policy.trust_domains import TrustDomains

FRONTEND = "spiffe://cluster.local/ns/shop/sa/frontend"
ALONE = TrustDomains()
RENAMED = TrustDomains(own="new.example", aliases=("old.example",))
FEDERATED = TrustDomains(own="own.example", foreign=("other.example",))


def principal(value: str, domains: TrustDomains = ALONE) -> tuple[TextPattern, ...]:
    return principal_patterns(value, domains)


def is_principal(value: str, identity: str, domains: TrustDomains = ALONE) -> bool:
    return any(pattern.matches(identity) for pattern in principal(value, domains))


def in_trust_domain(value: str, identity: str, domains: TrustDomains = ALONE) -> bool:
    return any(pattern.matches(identity) for pattern in trust_domain_patterns(value, domains))


def in_namespace(value: str, identity: str = FRONTEND, domains: TrustDomains = ALONE) -> bool:
    return namespace_pattern(value, domains).matches(identity)


def is_account(value: str, namespace: str, identity: str = FRONTEND, domains: TrustDomains = ALONE) -> bool:
    return service_account_pattern(value, namespace, domains).matches(identity)


def test_a_principal_is_written_without_its_scheme() -> None:
    assert is_principal("cluster.local/ns/shop/sa/frontend", FRONTEND)
    assert not is_principal("cluster.local/ns/shop/sa/front", FRONTEND)
    assert not is_principal(FRONTEND, FRONTEND)


def test_a_principal_may_be_a_prefix_a_suffix_or_anybody() -> None:
    assert is_principal("cluster.local/ns/shop/*", FRONTEND)
    assert is_principal("*/sa/frontend", FRONTEND)
    assert not is_principal("*/sa/front.nd", FRONTEND)
    assert is_principal("*", FRONTEND)


def test_a_principal_of_one_of_the_meshs_names_means_all_of_them() -> None:
    assert is_principal("old.example/ns/shop/sa/a", "spiffe://new.example/ns/shop/sa/a", RENAMED)
    assert is_principal("cluster.local/ns/shop/sa/a", "spiffe://old.example/ns/shop/sa/a", RENAMED)
    assert not is_principal("third.example/ns/shop/sa/a", "spiffe://new.example/ns/shop/sa/a", RENAMED)


def test_a_namespace_is_compared_whole_and_its_stars_stand_for_anything() -> None:
    assert in_namespace("shop")
    assert not in_namespace("sho")
    assert in_namespace("s*p")
    assert in_namespace("*op")
    assert not in_namespace("sh.p")


def test_a_namespace_is_what_stands_behind_the_trust_domain() -> None:
    odd = "spiffe://cluster.local/ns/ns/sa/web"
    for domains in (ALONE, TrustDomains(foreign=("other.example",))):
        assert in_namespace("ns", odd, domains)
        assert not in_namespace("sa", odd, domains)
        assert not in_namespace("*a", odd, domains)
        assert not in_namespace("shop", "spiffe://cluster.local/vm/ns/shop/sa/web", domains)


def test_the_longest_namespace_and_the_most_stars_are_compared_in_no_time() -> None:
    for domains, domain in ((ALONE, "cluster.local"), (FEDERATED, "own.example")):
        assert not in_namespace("*a*a*a*a*a*a*a*b", f"spiffe://{domain}/ns/{'a' * 63}/sa/b", domains)
        assert in_namespace("*a*a*a*a*a*a*a*b", f"spiffe://{domain}/ns/{'a' * 62}b/sa/b", domains)


def test_a_namespace_is_not_that_of_a_federated_mesh() -> None:
    assert in_namespace("shop", "spiffe://own.example/ns/shop/sa/a", FEDERATED)
    assert not in_namespace("shop", "spiffe://other.example/ns/shop/sa/a", FEDERATED)


def test_an_account_without_a_namespace_is_one_of_the_policys_own() -> None:
    assert is_account("frontend", "shop")
    assert not is_account("frontend", "bank")
    assert is_account("shop/frontend", "bank")
    assert not is_account("shop/front", "bank")


def test_an_account_of_any_trust_domain_is_meant_while_there_are_no_others() -> None:
    assert is_account("shop/frontend", "shop", "spiffe://other.example/ns/shop/sa/frontend")
    assert not is_account("shop/frontend", "shop", "spiffe://other.example/ns/shop/sa/frontend", FEDERATED)


def test_a_trust_domain_is_compared_up_to_its_slash() -> None:
    assert in_trust_domain("cluster.local", FRONTEND)
    assert not in_trust_domain("cluster", FRONTEND)
    assert in_trust_domain("*", FRONTEND)
    assert in_trust_domain("clus*", FRONTEND)
    assert in_trust_domain("*.local", FRONTEND)
    assert not in_trust_domain("c*shop", FRONTEND)


def test_a_trust_domain_of_the_mesh_means_all_of_its_names() -> None:
    assert in_trust_domain("old.example", "spiffe://new.example/ns/a/sa/b", RENAMED)
