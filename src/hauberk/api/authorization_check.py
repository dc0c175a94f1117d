"""Mistakes in the rules of an AuthorizationPolicy that types alone do not show (S-A3, S-A6, S-A9, S-A19)."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.api.authorization_rule import Action, Operation, Rule, Source
from hauberk.api.finding import Finding, Location

MOST_RULES = 512
MOST_SOURCES = 512
MOST_SERVICE_ACCOUNTS = 16
LONGEST_SERVICE_ACCOUNT = 320


def check_rules(rules: tuple[Rule, ...], action: Action) -> Iterator[Finding]:
    """Mistakes of all rules of a policy with this action."""
    if action is Action.DENY and not rules:
        yield Finding("HBK0303", ("spec", "rules"), "DENY without rules never denies anything")
    if len(rules) > MOST_RULES:
        yield Finding("HBK0307", ("spec", "rules"), f"{len(rules)} rules; at most {MOST_RULES} are allowed")
    for index, rule in enumerate(rules):
        at: Location = ("spec", "rules", index)
        yield from _check_from(at, rule)
        yield from _check_to(at, rule, action)


def _check_from(at: Location, rule: Rule) -> Iterator[Finding]:
    if len(rule.from_ or ()) > MOST_SOURCES:
        yield Finding("HBK0307", (*at, "from"), f"{len(rule.from_ or ())} sources; at most {MOST_SOURCES} are allowed")
    for index, entry in enumerate(rule.from_ or ()):
        here: Location = (*at, "from", index, "source")
        source = entry.source
        if source == Source():
            yield Finding("HBK0302", here, "an empty source says nothing", "remove `from` to mean every caller")
        yield from _check_values(here, source)
        yield from _check_principals(here, source)
        yield from _check_service_accounts(here, source)


def _check_principals(at: Location, source: Source) -> Iterator[Finding]:
    for name, values in (("principals", source.principals), ("notPrincipals", source.not_principals)):
        for index, value in enumerate(values):
            if value.startswith("spiffe://"):
                short = value.removeprefix("spiffe://")
                yield Finding("HBK0305", (*at, name, index), f"{value!r} matches nobody: spiffe:// is added by itself", f"write {short}")


def _check_service_accounts(at: Location, source: Source) -> Iterator[Finding]:
    others = source.principals + source.not_principals + source.namespaces + source.not_namespaces
    for name, values in (("serviceAccounts", source.service_accounts), ("notServiceAccounts", source.not_service_accounts)):
        if values and others:
            message = f"{name} cannot be combined with principals or namespaces in one source"
            yield Finding("HBK0113", (*at, name), message, "write one or the other; a service account names its namespace: NAMESPACE/NAME")
        if len(values) > MOST_SERVICE_ACCOUNTS:
            yield Finding("HBK0307", (*at, name), f"{len(values)} entries; at most {MOST_SERVICE_ACCOUNTS} are allowed")
        for index, value in enumerate(values):
            if fault := _service_account_fault(value):
                yield Finding("HBK0110", (*at, name, index), f"{value!r} is no service account: it {fault}")


def _service_account_fault(value: str) -> str | None:
    if len(value) > LONGEST_SERVICE_ACCOUNT:
        return f"is longer than {LONGEST_SERVICE_ACCOUNT} characters"
    if "*" in value:
        return "may hold no *"
    parts = value.split("/")
    return None if len(parts) <= 2 and all(parts) else "must be NAME or NAMESPACE/NAME"


def _check_to(at: Location, rule: Rule, action: Action) -> Iterator[Finding]:
    for index, entry in enumerate(rule.to or ()):
        here: Location = (*at, "to", index, "operation")
        operation = entry.operation
        if operation == Operation():
            yield Finding("HBK0302", here, "an empty operation says nothing", "remove `to` to mean every request")
        yield from _check_values(here, operation)
        yield from _check_ports(here, operation)
        if action is Action.DENY and _only_http(operation):
            message = "on TCP ports methods, paths and hosts cannot be seen: this rule denies every connection to them"
            yield Finding("HBK0304", here, message)


def _only_http(operation: Operation) -> bool:
    http = operation.hosts + operation.not_hosts + operation.methods + operation.not_methods + operation.paths + operation.not_paths
    return bool(http) and not operation.ports and not operation.not_ports


def _check_values(at: Location, clause: Source | Operation) -> Iterator[Finding]:
    for name, field in type(clause).model_fields.items():
        yaml = field.alias or name
        for index, value in enumerate(getattr(clause, name)):
            if not value:
                yield Finding("HBK0302", (*at, yaml, index), "an empty value matches nothing")
            elif (
                "*" in value[1:-1] and "{" not in value and yaml.lower().removeprefix("not") in ("principals", "hosts", "methods", "paths")
            ):
                yield Finding(
                    "HBK0306", (*at, yaml, index), f"the * inside {value!r} stands for itself: only a first or last * is a wildcard"
                )


def _check_ports(at: Location, operation: Operation) -> Iterator[Finding]:
    for name, values in (("ports", operation.ports), ("notPorts", operation.not_ports)):
        for index, value in enumerate(values):
            if not (value.isascii() and value.isdigit() and int(value) <= 65535):
                yield Finding("HBK0107", (*at, name, index), f"{value!r} is no port number; ports go from 1 to 65535, without ranges")
