"""Where the keys of issuers are, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hauberk.api.jwt_rule import JwtRule
from hauberk.mesh.jwks import InvalidJwks, usable_keys


@dataclass(frozen=True, slots=True, order=True)
class KeySource:
    """A place that keys are fetched from: `uri`, or if that is empty what `issuer` says of itself (OpenID Connect Discovery, 4)."""

    uri: str
    issuer: str = ""

    def __str__(self) -> str:
        return self.uri or f"the discovery document of {self.issuer}"


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """`jwks`: keys as a proxy reads them; empty: none is known, and every token of the issuer is refused.

    `problem`: why none is known, or why there are no newer ones.
    """

    jwks: str = ""
    problem: str = ""


KnownKeys = Mapping[KeySource, IssuerKeys]

NO_KEYS: Final[KnownKeys] = {}
NOT_FETCHED: Final = IssuerKeys(problem="its keys have not been fetched yet")


def key_source(rule: JwtRule) -> KeySource | None:
    """Where the keys of `rule` are fetched from; None: they are in the rule (S-J7: `jwks` wins over `jwksUri`)."""
    if rule.jwks:
        return None
    return KeySource(rule.jwks_uri) if rule.jwks_uri else KeySource("", rule.issuer)


def keys_of(rule: JwtRule, known: KnownKeys) -> IssuerKeys:
    """The keys that tokens of `rule` are verified with. Never others: what cannot be had leaves nobody to believe."""
    source = key_source(rule)
    if source is not None:
        return known.get(source, NOT_FETCHED)
    try:
        return IssuerKeys(usable_keys(rule.jwks).text)
    except InvalidJwks as exc:
        return IssuerKeys(problem=str(exc))
