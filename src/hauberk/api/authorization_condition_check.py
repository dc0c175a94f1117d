"""Mistakes in the conditions (`when`) of a rule: keys that name nothing, and values that their key cannot have (S-A9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hauberk.api.authorization_rule import Action, Condition
from hauberk.api.condition_key import ConditionKey, ConditionKeyError, ConditionKind, condition_words
from hauberk.api.finding import Finding, Location
from hauberk.api.policy_values import (
    Check,
    check_block,
    check_metadata,
    check_namespace,
    check_port,
    check_principal,
    check_request_principal,
    check_service_account,
    check_text,
    check_trust_domain,
    check_values,
)
from hauberk.api.sift import near_remedy

MOST_CONDITIONS = 512  # of one rule

OF_KIND: Final[dict[ConditionKind, Check]] = {
    ConditionKind.HEADER: check_text,
    ConditionKind.REQUEST_PRINCIPAL: check_request_principal,
    ConditionKind.AUDIENCES: check_text,
    ConditionKind.PRESENTER: check_text,
    ConditionKind.CLAIM: check_text,
    ConditionKind.SOURCE_IP: check_block,
    ConditionKind.REMOTE_IP: check_block,
    ConditionKind.NAMESPACE: check_namespace,
    ConditionKind.SERVICE_ACCOUNT: check_service_account,
    ConditionKind.PRINCIPAL: check_principal,
    ConditionKind.TRUST_DOMAIN: check_trust_domain,
    ConditionKind.DESTINATION_IP: check_block,
    ConditionKind.DESTINATION_PORT: check_port,
    ConditionKind.SNI: check_text,
    ConditionKind.METADATA: check_metadata,
}


def check_conditions(at: Location, conditions: tuple[Condition, ...], action: Action) -> Iterator[Finding]:
    """Mistakes of the conditions of one rule of a policy with this action."""
    if len(conditions) > MOST_CONDITIONS:
        yield Finding("HBK0307", at, f"{len(conditions)} conditions; at most {MOST_CONDITIONS} are allowed")
    for index, condition in enumerate(conditions[:MOST_CONDITIONS]):
        here: Location = (*at, index)
        try:
            key = condition.parsed
        except ConditionKeyError as error:
            yield Finding("HBK0309", (*here, "key"), str(error), near_remedy(condition.key, condition_words()))
            continue
        yield from _check_condition(here, condition, key)
        if action is Action.CUSTOM and (key.kind.of_token or key.kind.of_peer):
            yield Finding("HBK0311", (*here, "key"), f"{condition.key} cannot be asked by a CUSTOM policy")


def _check_condition(at: Location, condition: Condition, key: ConditionKey) -> Iterator[Finding]:
    if not condition.values and not condition.not_values:
        yield Finding("HBK0302", at, f"the condition on {condition.key} has neither values nor notValues")
    for name, values in (("values", condition.values), ("notValues", condition.not_values)):
        yield from check_values((*at, name), values, OF_KIND[key.kind])
