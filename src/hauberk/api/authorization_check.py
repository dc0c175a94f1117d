"""Mistakes in the rules of an AuthorizationPolicy that types alone do not show (S-A3, S-A4, S-A9, S-A19, 2.24)."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.api.authorization_condition_check import check_conditions
from hauberk.api.authorization_rule import Action, Operation, Rule, Source
from hauberk.api.finding import Finding, Location
from hauberk.api.policy_values import MOST_SERVICE_ACCOUNTS, OF_FIELD, check_values, positive

MOST_RULES = 512
MOST_ENTRIES = 512  # of `from`, and of `to`
# What CUSTOM cannot ask: it is decided before tokens are verified, and the service is told the caller itself.
NOT_IN_CUSTOM = frozenset({"principals", "requestPrincipals", "namespaces", "serviceAccounts", "trustDomains"})


def check_rules(rules: tuple[Rule, ...], action: Action) -> Iterator[Finding]:
    """Mistakes of all rules of a policy with this action."""
    if action in (Action.DENY, Action.CUSTOM) and not rules:
        yield Finding(
            "HBK0303", ("spec", "rules"), f"{action} without rules never {'denies' if action is Action.DENY else 'asks'} anything"
        )
    if len(rules) > MOST_RULES:
        yield Finding("HBK0307", ("spec", "rules"), f"{len(rules)} rules; at most {MOST_RULES} are allowed")
    for index, rule in enumerate(rules[:MOST_RULES]):
        at: Location = ("spec", "rules", index)
        yield from _check_from(at, rule, action)
        yield from _check_to(at, rule)
        yield from check_conditions((*at, "when"), rule.when, action)


def _check_from(at: Location, rule: Rule, action: Action) -> Iterator[Finding]:
    entries = rule.from_ or ()
    if len(entries) > MOST_ENTRIES:
        yield Finding("HBK0307", (*at, "from"), f"{len(entries)} sources; at most {MOST_ENTRIES} are allowed")
    for index, entry in enumerate(entries[:MOST_ENTRIES]):
        here: Location = (*at, "from", index, "source")
        if entry.source == Source():
            yield Finding("HBK0302", here, "an empty source says nothing", "remove `from` to mean every caller")
        yield from _check_fields(here, entry.source)
        yield from _check_service_accounts(here, entry.source)
        if action is Action.CUSTOM:
            yield from _check_custom(here, entry.source)


def _check_to(at: Location, rule: Rule) -> Iterator[Finding]:
    entries = rule.to or ()
    if len(entries) > MOST_ENTRIES:
        yield Finding("HBK0307", (*at, "to"), f"{len(entries)} operations; at most {MOST_ENTRIES} are allowed")
    for index, entry in enumerate(entries[:MOST_ENTRIES]):
        here: Location = (*at, "to", index, "operation")
        if entry.operation == Operation():
            yield Finding("HBK0302", here, "an empty operation says nothing", "remove `to` to mean every request")
        yield from _check_fields(here, entry.operation)


def _check_fields(at: Location, clause: Source | Operation) -> Iterator[Finding]:
    for yaml, values in _fields(clause):
        yield from check_values((*at, yaml), values, OF_FIELD[positive(yaml)])


def _fields(clause: Source | Operation) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The fields that are used, by their names in YAML."""
    for name, field in type(clause).model_fields.items():
        if values := getattr(clause, name):
            yield field.alias or name, values


def _check_service_accounts(at: Location, source: Source) -> Iterator[Finding]:
    others = source.principals + source.not_principals + source.namespaces + source.not_namespaces
    for name, values in (("serviceAccounts", source.service_accounts), ("notServiceAccounts", source.not_service_accounts)):
        if values and others:
            message = f"{name} cannot be combined with principals or namespaces in one source"
            yield Finding("HBK0113", (*at, name), message, "write one or the other; a service account names its namespace: NAMESPACE/NAME")
        if len(values) > MOST_SERVICE_ACCOUNTS:
            yield Finding("HBK0307", (*at, name), f"{len(values)} entries; at most {MOST_SERVICE_ACCOUNTS} are allowed")


def _check_custom(at: Location, source: Source) -> Iterator[Finding]:
    for yaml, _ in _fields(source):
        if positive(yaml) in NOT_IN_CUSTOM:
            yield Finding("HBK0311", (*at, yaml), f"{yaml} cannot be asked by a CUSTOM policy")
