"""Every place of a policy where values stand, by its path: for rules that look at values as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hauberk.api.authorization_policy import AuthorizationPolicy, Rule
from hauberk.api.condition_key import ConditionKeyError, ConditionKind
from hauberk.api.finding import Location
from hauberk.api.model import ApiModel

# What a field of a source asks is what a condition of this kind asks.
_SOURCES = {
    "principals": ConditionKind.PRINCIPAL,
    "request_principals": ConditionKind.REQUEST_PRINCIPAL,
    "namespaces": ConditionKind.NAMESPACE,
    "service_accounts": ConditionKind.SERVICE_ACCOUNT,
    "trust_domains": ConditionKind.TRUST_DOMAIN,
    "ip_blocks": ConditionKind.SOURCE_IP,
    "remote_ip_blocks": ConditionKind.REMOTE_IP,
    "ports": ConditionKind.DESTINATION_PORT,
}


@dataclass(frozen=True, slots=True)
class Clause:
    """The values of one field or condition; `asks` is its kind, or the name of a field of an operation that no condition asks."""

    rule: int
    at: Location
    asks: ConditionKind | str
    negated: bool
    values: tuple[str, ...]

    @property
    def http_only(self) -> bool:
        """It cannot be asked of a TCP connection."""
        return self.asks.http_only if isinstance(self.asks, ConditionKind) else True

    @property
    def of_peer(self) -> bool:
        """It is read from the caller's certificate."""
        return isinstance(self.asks, ConditionKind) and self.asks.of_peer

    @property
    def of_token(self) -> bool:
        """It is read from a verified token."""
        return isinstance(self.asks, ConditionKind) and self.asks.of_token


def clauses(policy: AuthorizationPolicy) -> Iterator[Clause]:
    """All of them, in the order of the text."""
    for index, rule in enumerate(policy.spec.rules):
        yield from rule_clauses(index, rule)


def rule_clauses(index: int, rule: Rule) -> Iterator[Clause]:
    """Those of one rule."""
    at: Location = ("spec", "rules", index)
    for number, source in enumerate(rule.from_ or ()):
        yield from _fields(index, (*at, "from", number, "source"), source.source)
    for number, operation in enumerate(rule.to or ()):
        yield from _fields(index, (*at, "to", number, "operation"), operation.operation)
    for number, condition in enumerate(rule.when):
        try:
            kind = condition.parsed.kind
        except ConditionKeyError:
            continue  # told where the object was checked
        for name, values in (("values", condition.values), ("notValues", condition.not_values)):
            if values:
                yield Clause(index, (*at, "when", number, name), kind, name == "notValues", values)


def _fields(rule: int, at: Location, model: ApiModel) -> Iterator[Clause]:
    for name, field in type(model).model_fields.items():
        values: tuple[str, ...] = getattr(model, name)
        if values:
            plain = name.removeprefix("not_")
            yield Clause(rule, (*at, field.alias or name), _SOURCES.get(plain, plain), plain != name, values)
