"""What a line says that policy has decided. The keys are those of `translate/access_log.py`.

A rule of a policy has a name that leads home (`ns[shop]-policy[readers]-rule[0]`). Whatever else decides has a name that begins with
`hauberk-`, or is told by Envoy in its details: that is no policy, and becomes a reason in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hauberk.telemetry.record import NO_RULE, Decision, Outcome, RuleName, Verdict

_DENIED: Final = "rbac_access_denied_matched_policy["
_TOKEN: Final = "jwt_authn_access_denied"  # noqa: S105 - what Envoy says
_AUTHORIZER: Final = "ext_authz"
# Beginnings of the details of requests that policy refused in another way than by a rule.
_REFUSALS: Final = {
    f"{_AUTHORIZER}_error": "the external authorizer did not decide",
    _AUTHORIZER: "external authorization",
    "local_rate_limited": "rate limit",
    "request_rate_limited": "rate limit",
}
_BEGINNINGS: Final = (_TOKEN, *_REFUSALS)
_OURS: Final = "hauberk-"
# The end of a rule's name by which a request was denied that nobody could be asked about.
_BAD_CUSTOM: Final = "-deny-due-to-bad-CUSTOM-action"
_UNREACHABLE: Final = "no external authorizer can be asked"
_NOBODY: Final = "no ALLOW rule matched"
_REASONS: Final = {
    "hauberk-no-allow-matched": _NOBODY,
    "hauberk-no-allow-policy": "no ALLOW policy",
    "hauberk-ambiguous-path": "ambiguous path",
    "hauberk-ambiguous-host": "ambiguous host",
    "hauberk-ambiguous-method": "ambiguous method",
    "hauberk-ambiguous-header": "ambiguous header",
    "hauberk-ambiguous-token": "ambiguous token",
    "hauberk-mutual-tls-required": "no mutual TLS",
    "hauberk-revoked[identity]": "revoked identity",
    "hauberk-revoked[certificate]": "revoked certificate",
}
# What nothing had to be decided by says nothing.
_NOTHING: Final = frozenset({"", "-", "none", "hauberk-not-revoked", "hauberk-one-identity"})


def is_denied(fields: Mapping[str, Any]) -> bool:
    """Whether policy refused what the line is about."""
    kind = fields.get("k")
    if kind == "l":
        # Only the listener saw it: it came without the certificate that policy demands (no chain takes it), or with a wrong one.
        return "NR" in (fields.get("f") or "") or bool(fields.get("tf"))
    if refused_by(fields.get("x") or ""):
        return True
    return kind == "t" and (fields.get("q") or "").startswith("deny|")


def refused_by(details: str) -> bool:
    """Whether Envoy's details say that policy refused it."""
    return details.startswith(_BEGINNINGS) or _DENIED in details


def read_decision(fields: Mapping[str, Any]) -> Decision:
    """All that the line says of it."""
    dry_run = _dry_run(fields)
    audit = rule_of(fields.get("ap") or "")
    return Decision(outcome=_outcome(fields), dry_run=dry_run, audit=(audit,) if audit.policy else ())


def rule_of(name: str) -> RuleName:
    """`ns[shop]-policy[readers]-rule[0]` as ("shop/readers", "0"), whatever follows; what has no such name is no rule."""
    namespace, found, rest = name.removeprefix("ns[").partition("]-policy[")
    policy, _, rule = rest.partition("]-rule[")
    return RuleName(f"{namespace}/{policy.removesuffix(']')}", rule.partition("]")[0]) if found else NO_RULE


def reason_of(name: str) -> str:
    """In words, what has decided under that name if it was no rule of a policy."""
    if name in _REASONS:
        return _REASONS[name]
    if name in _NOTHING or not name.startswith(_OURS):
        return ""
    return name.removeprefix(_OURS).replace("-", " ")


def _outcome(fields: Mapping[str, Any]) -> Outcome:
    if not is_denied(fields):
        return _named(Verdict.ALLOW, _name(fields, "q"))
    if fields.get("k") == "l":
        return Outcome(verdict=Verdict.DENY, reason="TLS handshake failed" if fields.get("tf") else "no mutual TLS")
    return _refusal(fields, fields.get("x") or "")


def _refusal(fields: Mapping[str, Any], details: str) -> Outcome:
    _, found, rest = details.partition(_DENIED)
    if found:
        # The name itself has brackets: it ends at the last one.
        return _named(Verdict.DENY, rest.rpartition("]")[0], _NOBODY)
    if details.startswith(_TOKEN):
        why = details.partition("{")[2].rpartition("}")[0].replace("_", " ")
        return Outcome(verdict=Verdict.DENY, reason=f"token refused: {why}" if why else "token refused")
    for beginning, reason in _REFUSALS.items():
        if details.startswith(beginning):
            asked = rule_of(fields.get("cp" if beginning.startswith(_AUTHORIZER) else "rl") or "")
            return Outcome(verdict=Verdict.DENY, rule=asked, reason=reason)
    return _named(Verdict.DENY, _name(fields, "q"), _NOBODY)


def _dry_run(fields: Mapping[str, Any]) -> Outcome | None:
    # Of a connection the verdict stands before the name.
    result = fields.get("dr" if fields.get("k") == "h" else "dp") or ""
    if not result:
        return None
    return _named(Verdict.DENY if result.startswith(("denied", "deny|")) else Verdict.ALLOW, _name(fields, "dp"), _NOBODY)


def _name(fields: Mapping[str, Any], key: str) -> str:
    """Of a connection it stands behind the verdict."""
    given = fields.get(key) or ""
    return given if fields.get("k") == "h" else given.partition("|")[2]


def _named(verdict: Verdict, name: str, if_nobody: str = "") -> Outcome:
    """The outcome that `name` has decided; `if_nobody`: why it is denied if that is nobody's name."""
    rule = rule_of(name)
    if rule.policy:
        return Outcome(verdict=verdict, rule=rule, reason=_UNREACHABLE if name.endswith(_BAD_CUSTOM) else "")
    nobody = if_nobody if verdict is Verdict.DENY and name in _NOTHING else ""
    return Outcome(verdict=verdict, rule=rule, reason=reason_of(name) or nobody)
