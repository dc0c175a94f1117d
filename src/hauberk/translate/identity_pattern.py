"""Which SPIFFE IDs a policy's value means, by Istio's rules.

Every character that a user wrote stands for itself, but the `*` that the rules name: a `.` in a name must not match anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from hauberk.policy.trust_domains import TrustDomains

SCHEME: Final = "spiffe://"

_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """SPIFFE IDs that are exactly `text`, begin with it, or match it as a whole (RE2)."""

    kind: Literal["exact", "prefix", "regex"]
    text: str


def principal_patterns(value: str, domains: TrustDomains) -> tuple[Pattern, ...]:
    """`TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`, `*suffix`, `prefix*`, or `*` for everyone with a certificate."""
    if value == "*":
        return (Pattern("regex", ".+"),)
    if value.startswith("*"):
        return (Pattern("regex", f"{SCHEME}.*{_literal(value[1:])}"),)
    return tuple(_principal(each) for each in domains.expand(value))


def _principal(value: str) -> Pattern:
    if value.endswith("*"):
        return Pattern("prefix", SCHEME + value[:-1])
    return Pattern("exact", SCHEME + value)


def namespace_pattern(value: str, domains: TrustDomains) -> Pattern:
    """Everyone of a namespace of this mesh; each `*` in it stands for any text."""
    escaped = ".*".join(_literal(part) for part in value.split("*"))
    return Pattern("regex", f"{_of_mesh(domains) or '.*'}/ns/{escaped}/.*")


def service_account_pattern(value: str, namespace: str, domains: TrustDomains) -> Pattern:
    """`NAMESPACE/NAME`, or a `NAME` in the namespace of the policy; in either case of this mesh."""
    before, slash, after = value.partition("/")
    where, account = (before, after) if slash else (namespace, value)
    return Pattern("regex", f"{_of_mesh(domains) or f'{SCHEME}.+'}/ns/{_literal(where)}/(.+/|)sa/{_literal(account)}(/.+)?")


def _of_mesh(domains: TrustDomains) -> str:
    """The beginning that IDs of this mesh have; empty while there are no others that could be taken for them.

    A foreign authority gives out names of namespaces as it likes: `shop` in a policy must never mean the `shop` of somebody else.
    """
    return f"{SCHEME}({'|'.join(_literal(name) for name in domains.names)})" if domains.foreign else ""


def _literal(text: str) -> str:
    # Not re.escape: it puts a backslash before characters after which RE2 does not accept one.
    return _SPECIAL.sub(r"\\\g<0>", text)
