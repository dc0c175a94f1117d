"""Which SPIFFE IDs a policy's value means, by Istio's rules.

Every character that a user wrote stands for itself, but the `*` that the rules name: a `.` in a name must not match anything.
"""

from __future__ import annotations

from typing import Final

from hauberk.policy.pattern import TextPattern, quote
from hauberk.policy.trust_domains import TrustDomains

SCHEME: Final = "spiffe://"


def principal_patterns(value: str, domains: TrustDomains) -> tuple[TextPattern, ...]:
    """`TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`, `*suffix`, `prefix*`, or `*` for everyone with a certificate."""
    if value == "*":
        return (TextPattern("present", ""),)
    if value.startswith("*"):
        # What follows the scheme may itself be the suffix's beginning, so that this is no plain suffix of the ID.
        return tuple(_suffix(each[1:]) if each.startswith("*") else _principal(each) for each in domains.expand(value))
    return tuple(_principal(each) for each in domains.expand(value))


def _suffix(text: str) -> TextPattern:
    return TextPattern("regex", f"{SCHEME}.*{quote(text)}")


def _principal(value: str) -> TextPattern:
    if value.endswith("*"):
        return TextPattern("prefix", SCHEME + value[:-1])
    return TextPattern("exact", SCHEME + value)


def namespace_pattern(value: str, domains: TrustDomains) -> TextPattern:
    """Everyone of a namespace of this mesh; each `*` in it stands for any text without a slash.

    The namespace stands behind the trust domain and nowhere else: in `…/ns/ns/sa/web` the namespace is `ns`, and not `sa`.
    """
    return TextPattern("regex", f"{_of_mesh(domains) or f'{SCHEME}[^/]+'}/ns/{'[^/]*'.join(map(quote, value.split('*')))}/.*")


def service_account_pattern(value: str, policy_namespace: str, domains: TrustDomains) -> TextPattern:
    """`NAMESPACE/NAME`, or a `NAME` in the namespace of the policy; in either case of this mesh."""
    namespace, slash, name = value.partition("/")
    if not slash:
        namespace, name = policy_namespace, value
    return TextPattern("regex", f"{_of_mesh(domains) or f'{SCHEME}.+'}/ns/{quote(namespace)}/(.+/|)sa/{quote(name)}(/.+)?")


def trust_domain_patterns(value: str, domains: TrustDomains) -> tuple[TextPattern, ...]:
    """A trust domain, in which one star stands for any text without a slash; the mesh's own name means all of its names."""
    return tuple(_trust_domain(each.removesuffix("/")) for each in domains.expand(f"{value}/"))


def _trust_domain(value: str) -> TextPattern:
    if value == "*":
        return TextPattern("prefix", SCHEME)
    if "*" not in value:
        return TextPattern("prefix", f"{SCHEME}{value}/")
    return TextPattern("regex", f"{SCHEME}{'[^/]*'.join(map(quote, value.split('*')))}/.*")


def _of_mesh(domains: TrustDomains) -> str:
    """The beginning that IDs of this mesh have; empty while there are no others that could be taken for them.

    A foreign authority gives out names of namespaces as it likes: `shop` in a policy must never mean the `shop` of somebody else.
    """
    return f"{SCHEME}({'|'.join(map(quote, domains.names))})" if domains.foreign else ""
