"""The token of the end user: what the sidecar makes of it, and the claims that policies then see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hauberk.explain.authorization import Asked
from hauberk.explain.explanation import Layer, Outcome
from hauberk.mesh.request_authentication import TokenRule
from hauberk.policy.attribute import Kind
from hauberk.policy.claims import split_claims

Claims = Mapping[str, Any] | None


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
        told = (
            "the token is not looked at: no RequestAuthentication selects the workload"
            if question.token
            else "no token, and none is asked for"
        )
        return Layer("jwt", Outcome.NONE, told), None
    if question.token is None:
        return Layer("jwt", Outcome.PASS, "no token: the request goes on without claims"), None
    return Layer("jwt", Outcome.UNKNOWN, "the token was not looked at"), None


def _taken(claims: Mapping[str, Any], rules: tuple[TokenRule, ...]) -> tuple[Layer, Claims]:
    """A token that is said to be verified; where nobody would verify it, that is said."""
    issuer = claims.get("iss")
    rule = next((each for each in rules if issuer is None or each.rule.issuer in ("", issuer)), None)
    if rule is None:
        told = "no RequestAuthentication selects the workload" if not rules else f"none of the workload's issuers is {issuer}"
        return Layer("jwt", Outcome.PASS, f"the claims are taken as verified, but {told}: a real token would not be"), dict(claims)
    where = f"{rule.origin.namespace}/{rule.origin.name}"
    split = split_claims(claims, rule.rule.space_delimited_claims)
    return Layer("jwt", Outcome.PASS, f"the claims are taken as verified (RequestAuthentication {where})"), split
