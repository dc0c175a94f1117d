"""What a decision says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hauberk.policy.identifier import RuleId
from hauberk.policy.trace import PolicyTrace

# The names in Envoy's records of what no rule decided.
AMBIGUOUS_PATH: Final = "hauberk-ambiguous-path"
AMBIGUOUS_HOST: Final = "hauberk-ambiguous-host"
AMBIGUOUS_METHOD: Final = "hauberk-ambiguous-method"
AMBIGUOUS_HEADER: Final = "hauberk-ambiguous-header"
NO_ALLOW_MATCHED: Final = "hauberk-no-allow-matched"  # denied
NO_ALLOW_POLICY: Final = "hauberk-no-allow-policy"  # allowed
MUTUAL_TLS_REQUIRED: Final = "hauberk-mutual-tls-required"  # denied: a request on a plain connection that was made before STRICT
MALFORMED: Final = "hauberk-malformed-path"  # refused before any policy (400)
EXTERNAL: Final = "hauberk-external-authorizer"  # the external service said no
NO_PROVIDER: Final = "hauberk-no-provider"  # CUSTOM whose provider is not known, or not the only one

_REASONS: Final = {
    AMBIGUOUS_PATH: "the path can be read in more than one way, and policies ask about paths",
    AMBIGUOUS_HOST: "the host is none, or two, and policies ask about hosts",
    AMBIGUOUS_METHOD: "the method is in lower case, which programs may take for another, and policies ask about methods",
    AMBIGUOUS_HEADER: "a blank stands at an end of a header's value, which programs cut off, and policies ask about the header",
    NO_ALLOW_MATCHED: "ALLOW policies select the workload and none of their rules matches",
    NO_ALLOW_POLICY: "no ALLOW policy selects the workload",
    MUTUAL_TLS_REQUIRED: "the connection is plain, and the workload takes mutual TLS only",
    MALFORMED: "the path is malformed: the sidecar refuses it before any policy is asked",
    EXTERNAL: "the external authorizer refused",
    NO_PROVIDER: "a CUSTOM policy matches whose provider cannot be asked",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The decision alone: `rule` decided, or what `name` says if none did."""

    allowed: bool
    name: str
    rule: RuleId | None = None

    @property
    def reason(self) -> str:
        """In words."""
        if self.rule is None:
            return _REASONS[self.name]
        return f"{'allowed' if self.allowed else 'denied'} by {self.rule}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        policy = f"{self.rule.namespace}/{self.rule.policy}" if self.rule else None
        return {"verdict": "allow" if self.allowed else "deny", "policy": policy, "rule": self.rule.rule if self.rule else None}


def by_rule(rule: RuleId, *, allowed: bool) -> Judgement:
    """`rule` decided."""
    return Judgement(allowed, str(rule), rule)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision with all that is to be said about it.

    `dry_run`: what it would be if the policies on trial were enforced; None if there are none. `audited`: the rules of AUDIT that
    match, the first of which the sidecar records. `custom`: the rule for which an external service is asked; if its answer was not
    given, the decision is what follows if it agrees.
    """

    judgement: Judgement
    policies: tuple[PolicyTrace, ...]
    dry_run: Judgement | None = None
    audited: tuple[RuleId, ...] = ()
    custom: RuleId | None = None

    @property
    def allowed(self) -> bool:
        return self.judgement.allowed

    @property
    def reason(self) -> str:
        return self.judgement.reason

    @property
    def decided_by(self) -> RuleId | None:
        """None when no rule matched; the reason says what follows from that."""
        return self.judgement.rule

    @property
    def status(self) -> int | None:
        """What a caller by HTTP is told; None if it passes."""
        return None if self.allowed else 400 if self.judgement.name == MALFORMED else 403

    def to_json(self) -> dict[str, Any]:
        """For programs, with the trace."""
        return {
            **self.judgement.to_json(),
            "reason": self.reason,
            "dryRun": self.dry_run.to_json() if self.dry_run else None,
            "audit": [f"{rule.namespace}/{rule.policy}" for rule in self.audited],
            "custom": f"{self.custom.namespace}/{self.custom.policy}" if self.custom else None,
            "policies": [each.to_json() for each in self.policies],
        }
