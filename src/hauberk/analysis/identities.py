"""Policies that rely on who calls, where callers need not prove who they are."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.analysis.clauses import Clause, rule_clauses
from hauberk.analysis.world import World
from hauberk.api.authorization_policy import Action, AuthorizationPolicy, Rule
from hauberk.api.finding import Finding
from hauberk.api.peer_authentication import MtlsMode


def check_identities(policy: AuthorizationPolicy, world: World) -> Iterator[Finding]:
    """Fields about the caller's certificate at ports that do without one."""
    if not any(clause.of_peer for index, rule in enumerate(policy.spec.rules) for clause in rule_clauses(index, rule)):
        return
    modes = world.selected(policy).modes
    for index, rule in enumerate(policy.spec.rules):
        asked = [clause for clause in rule_clauses(index, rule) if clause.of_peer]
        if asked and modes and modes <= {MtlsMode.DISABLE}:
            message = "the selected workloads take no certificates (PeerAuthentication DISABLE), so no caller has an identity there"
            yield Finding("HBK0356", asked[0].at, message)
        elif asked and modes - {MtlsMode.STRICT}:
            yield from _check_evasion(rule, asked, policy.spec.action)


def _check_evasion(rule: Rule, asked: list[Clause], action: Action) -> Iterator[Finding]:
    wanted, excluded = [each for each in asked if not each.negated], [each for each in asked if each.negated]
    if action is Action.DENY and wanted:
        message = "whoever connects without a certificate has no identity and is not denied; the selected workloads let him (PERMISSIVE)"
        yield Finding("HBK0357", wanted[0].at, message)
    elif action is Action.ALLOW and excluded and not wanted:
        message = (
            "callers without an identity are none of these, so they are allowed too; the selected workloads let them connect (PERMISSIVE)"
        )
        yield Finding("HBK0361", excluded[0].at, message)
