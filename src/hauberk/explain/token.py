"""The token of the end user: what the sidecar makes of it, and the claims that policies then see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hauberk.explain.authorization import Asked
from hauberk.explain.explanation import Layer, Outcome
from hauberk.mesh.request_authentication import TokenRule
from hauberk.policy.attribute import Kind
from hauberk.policy.authentication import authenticate, with_token
from hauberk.policy.claims import split_claims
from hauberk.policy.jwt import Issuer

Claims = Mapping[str, Any] | None
_NOBODY: Final = "no RequestAuthentication selects the workload"


def token_layer(asked: Asked) -> tuple[Layer, Claims]:
    """Whether the token is accepted, and its claims."""
    assert asked.target.inbound is not None
    question, rules = asked.question, asked.target.inbound.tokens
    if not asked.http:
        return Layer("jwt", Outcome.NONE, "a connection of bytes has no token"), None
    if Kind.CLAIM in question.unknown:
        return Layer("jwt", Outcome.UNKNOWN, "a record does not hold the token"), None
    if question.claims is not None:
        return _taken(question.claims, rules)
    if not rules:
        told = "no token, and none is asked for" if question.token is None else "the token is not looked at: " + _NOBODY
        return Layer("jwt", Outcome.NONE, told), None
    return _verified(asked, rules)


def _verified(asked: Asked, rules: tuple[TokenRule, ...]) -> tuple[Layer, Claims]:
    """What the workload's issuers say of all tokens in the request."""
    issuers = [Issuer(each.rule, each.keys.jwks) for each in rules]
    request = asked.request()
    if asked.question.token is not None:
        request = with_token(request, asked.question.token, issuers)
    found = authenticate(request, issuers, asked.now)
    where = f" in {found.place.told}" if found.place else ""
    if not found.passes:
        because = f"the token{where} is refused: {found.reason}{_without_keys(rules)}"
        return Layer("jwt", Outcome.DENY, because, found.status), None
    if found.claims is None:
        return Layer("jwt", Outcome.PASS, "no token: the request goes on without claims"), None
    return Layer(
        "jwt", Outcome.PASS, f"the token{where} is verified: issuer {found.claims.get('iss')}, subject {found.claims.get('sub')}"
    ), found.claims


def _without_keys(rules: tuple[TokenRule, ...]) -> str:
    told = "; ".join(f"{each.rule.issuer}: {each.keys.problem}" for each in rules if not each.keys.jwks)
    return f" (no keys of {told})" if told else ""


def _taken(claims: Mapping[str, Any], rules: tuple[TokenRule, ...]) -> tuple[Layer, Claims]:
    """A token that is said to be verified; where nobody would verify it, that is said."""
    issuer = claims.get("iss")
    rule = next((each for each in rules if issuer is None or each.rule.issuer in ("", issuer)), None)
    if rule is None:
        told = _NOBODY if not rules else f"none of the workload's issuers is {issuer}"
        return Layer("jwt", Outcome.PASS, f"the claims are taken as verified, but {told}: a real token would not be"), dict(claims)
    where = f"{rule.origin.namespace}/{rule.origin.name}"
    split = split_claims(claims, rule.rule.space_delimited_claims)
    return Layer("jwt", Outcome.PASS, f"the claims are taken as verified (RequestAuthentication {where})"), split
