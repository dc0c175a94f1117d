"""Which SPIFFE IDs a policy's value means, by Istio's rules.

Every character that a user wrote stands for itself, but the `*` that the rules name: a `.` in a name must not match anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

SCHEME: Final = "spiffe://"

# Always means the mesh's own trust domain, whatever that is called: policies written for one mesh hold in another.
_ANY_MESH: Final = "cluster.local"
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """SPIFFE IDs that are exactly `text`, begin with it, or match it as a whole (RE2)."""

    kind: Literal["exact", "prefix", "regex"]
    text: str


def principal_patterns(value: str, trust_domain: str) -> tuple[Pattern, ...]:
    """`TRUST-DOMAIN/ns/NAMESPACE/sa/NAME`, `*suffix`, `prefix*`, or `*` for everyone with a certificate."""
    if value == "*":
        return (Pattern("regex", ".+"),)
    if value.startswith("*"):
        return (Pattern("regex", f"{SCHEME}.*{_literal(value[1:])}"),)
    return tuple(_principal(each) for each in _in_own_trust_domain(value, trust_domain))


def _principal(value: str) -> Pattern:
    if value.endswith("*"):
        return Pattern("prefix", SCHEME + value[:-1])
    return Pattern("exact", SCHEME + value)


def _in_own_trust_domain(value: str, trust_domain: str) -> tuple[str, ...]:
    domain, slash, rest = value.partition("/")
    if domain == _ANY_MESH and slash and trust_domain != _ANY_MESH:
        return (f"{trust_domain}/{rest}", value)
    return (value,)


def namespace_pattern(value: str) -> Pattern:
    """Everyone of a namespace; each `*` in it stands for any text."""
    escaped = ".*".join(_literal(part) for part in value.split("*"))
    return Pattern("regex", f".*/ns/{escaped}/.*")


def service_account_pattern(value: str, namespace: str) -> Pattern:
    """`NAMESPACE/NAME`, or a `NAME` in the namespace of the policy."""
    before, slash, after = value.partition("/")
    where, account = (before, after) if slash else (namespace, value)
    return Pattern("regex", f"{SCHEME}.+/ns/{_literal(where)}/(.+/|)sa/{_literal(account)}(/.+)?")


def _literal(text: str) -> str:
    # Not re.escape: it puts a backslash before characters after which RE2 does not accept one.
    return _SPECIAL.sub(r"\\\g<0>", text)
