"""Istio's value syntax: `abc` exactly, `abc*` by prefix, `*abc` by suffix, `*` anything but nothing.

Only one first or last star is a wildcard; the translation to Envoy reads the same parsed form, so both agree by construction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, assert_never

from hauberk.policy.trust_domains import TrustDomains

Match = Literal["exact", "prefix", "suffix", "present"]
_UNFEDERATED: Final = TrustDomains()


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed value; `text` is without its star."""

    match: Match
    text: str

    def matches(self, actual: str, *, ignore_case: bool = False) -> bool:
        """`actual` is meant."""
        wanted, actual = (self.text.lower(), actual.lower()) if ignore_case else (self.text, actual)
        match self.match:
            case "exact":
                return actual == wanted
            case "prefix":
                return actual.startswith(wanted)
            case "suffix":
                return actual.endswith(wanted)
            case "present":
                return actual != ""
            case _:
                assert_never(self.match)


def parse_pattern(value: str) -> Pattern:
    """The pattern that `value` writes; of `*abc*` only the first star is one, as in Istio."""
    if value == "*":
        return Pattern("present", "")
    if value.startswith("*"):
        return Pattern("suffix", value[1:])
    if value.endswith("*"):
        return Pattern("prefix", value[:-1])
    return Pattern("exact", value)


@dataclass(frozen=True, slots=True)
class IdentityPattern:
    """What a caller's SPIFFE ID must be: a text, its beginning, or a regular expression (RE2) for all of it."""

    match: Literal["exact", "prefix", "regex"]
    text: str

    def matches(self, identity: str | None) -> bool:
        """A caller without identity (plaintext) matches nothing."""
        if identity is None:
            return False
        match self.match:
            case "exact":
                return identity == self.text
            case "prefix":
                return identity.startswith(self.text)
            case "regex":
                return _compiled(self.text).fullmatch(identity) is not None
            case _:
                assert_never(self.match)


def principal_pattern(value: str) -> IdentityPattern:
    """A principal, written without spiffe://; `*` is any caller with an identity."""
    pattern = parse_pattern(value)
    match pattern.match:
        case "exact":
            return IdentityPattern("exact", f"spiffe://{pattern.text}")
        case "prefix":
            return IdentityPattern("prefix", f"spiffe://{pattern.text}")
        case "suffix":
            return IdentityPattern("regex", f"spiffe://.*{quote(pattern.text)}")
        case "present":
            return IdentityPattern("regex", ".+")
        case _:
            assert_never(pattern.match)


def namespace_pattern(value: str, domains: TrustDomains = _UNFEDERATED) -> IdentityPattern:
    """A namespace of this mesh; here every star stands for any characters."""
    return IdentityPattern("regex", f"{_of_mesh(domains) or '.*'}/ns/{'.*'.join(quote(part) for part in value.split('*'))}/.*")


def service_account_pattern(value: str, policy_namespace: str, domains: TrustDomains = _UNFEDERATED) -> IdentityPattern:
    """NAMESPACE/NAME, or NAME in the namespace of the policy itself; in either case of this mesh."""
    namespace, slash, name = value.partition("/")
    if not slash:
        namespace, name = policy_namespace, value
    return IdentityPattern("regex", f"{_of_mesh(domains) or 'spiffe://.+'}/ns/{quote(namespace)}/(.+/|)sa/{quote(name)}(/.+)?")


def _of_mesh(domains: TrustDomains) -> str:
    """The beginning of this mesh's IDs; empty while there are no others: the `shop` of a foreign domain is not the policy's `shop`."""
    return f"spiffe://({'|'.join(quote(name) for name in domains.names)})" if domains.foreign else ""


def quote(text: str) -> str:
    """`text` as an expression that matches it alone, in Python as in RE2, which knows fewer escapes than `re.escape` writes."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)
