"""What the values of each field and of each condition are asked of, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hauberk.api.condition_key import ConditionKey, ConditionKind
from hauberk.api.ip_block import parse_block
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.host import parse_host
from hauberk.policy.identity import namespace_pattern, principal_patterns, service_account_pattern, trust_domain_patterns
from hauberk.policy.pattern import AddressPattern, ListPattern, Pattern, PortPattern, parse_text
from hauberk.policy.principal import path_pattern, request_principal_pattern
from hauberk.policy.trust_domains import TrustDomains


@dataclass(frozen=True, slots=True)
class Setting:
    """Whose policy it is: names without a namespace are of `namespace`."""

    namespace: str
    domains: TrustDomains


@dataclass(frozen=True, slots=True)
class Meaning:
    """Values of one field are about `attribute`, and each means the `patterns`."""

    attribute: Attribute
    patterns: Callable[[str, Setting], tuple[Pattern, ...]]

    def all(self, values: tuple[str, ...], setting: Setting) -> tuple[Pattern, ...]:
        """What any of `values` means, once each."""
        return tuple(dict.fromkeys(pattern for value in values for pattern in self.patterns(value, setting)))


def _principal(value: str, setting: Setting) -> tuple[Pattern, ...]:
    return principal_patterns(value, setting.domains)


def _namespace(value: str, setting: Setting) -> tuple[Pattern, ...]:
    return (namespace_pattern(value, setting.domains),)


def _service_account(value: str, setting: Setting) -> tuple[Pattern, ...]:
    return (service_account_pattern(value, setting.namespace, setting.domains),)


def _trust_domain(value: str, setting: Setting) -> tuple[Pattern, ...]:
    return trust_domain_patterns(value, setting.domains)


def _alone(parse: Callable[[str], Pattern]) -> Callable[[str, Setting], tuple[Pattern, ...]]:
    return lambda value, _: (parse(value),)


def _address(value: str) -> AddressPattern:
    return AddressPattern(parse_block(value))


def _port(value: str) -> PortPattern:
    return PortPattern(int(value))


def _metadata(value: str) -> Pattern:
    """In brackets an element of a list."""
    return ListPattern(parse_text(value[1:-1])) if value.startswith("[") and value.endswith("]") else parse_text(value)


_IDENTITY: Final = Attribute(Kind.IDENTITY)
_TEXT: Final = _alone(parse_text)
_ADDRESS: Final = _alone(_address)

# By the attribute of the API's model; the order is the order in which a rule is asked.
SOURCE: Final = {
    "principals": Meaning(_IDENTITY, _principal),
    "namespaces": Meaning(_IDENTITY, _namespace),
    "service_accounts": Meaning(_IDENTITY, _service_account),
    "trust_domains": Meaning(_IDENTITY, _trust_domain),
    "request_principals": Meaning(Attribute(Kind.REQUEST_PRINCIPAL), _alone(request_principal_pattern)),
    "ip_blocks": Meaning(Attribute(Kind.DIRECT_IP), _ADDRESS),
    "remote_ip_blocks": Meaning(Attribute(Kind.REMOTE_IP), _ADDRESS),
}
OPERATION: Final = {
    "ports": Meaning(Attribute(Kind.PORT), _alone(_port)),
    "methods": Meaning(Attribute(Kind.METHOD), _TEXT),
    "paths": Meaning(Attribute(Kind.PATH), _alone(path_pattern)),
    "hosts": Meaning(Attribute(Kind.HOST), _alone(parse_host)),
}
_CONDITION: Final = {
    ConditionKind.HEADER: Meaning(Attribute(Kind.HEADER), _TEXT),
    ConditionKind.REQUEST_PRINCIPAL: SOURCE["request_principals"],
    ConditionKind.AUDIENCES: Meaning(Attribute(Kind.CLAIM, ("aud",)), _TEXT),
    ConditionKind.PRESENTER: Meaning(Attribute(Kind.CLAIM, ("azp",)), _TEXT),
    ConditionKind.CLAIM: Meaning(Attribute(Kind.CLAIM), _TEXT),
    ConditionKind.SOURCE_IP: SOURCE["ip_blocks"],
    ConditionKind.REMOTE_IP: SOURCE["remote_ip_blocks"],
    ConditionKind.NAMESPACE: SOURCE["namespaces"],
    ConditionKind.SERVICE_ACCOUNT: SOURCE["service_accounts"],
    ConditionKind.PRINCIPAL: SOURCE["principals"],
    ConditionKind.TRUST_DOMAIN: SOURCE["trust_domains"],
    ConditionKind.DESTINATION_IP: Meaning(Attribute(Kind.DESTINATION_IP), _ADDRESS),
    ConditionKind.DESTINATION_PORT: OPERATION["ports"],
    ConditionKind.SNI: Meaning(Attribute(Kind.SNI), _TEXT),
    ConditionKind.METADATA: Meaning(Attribute(Kind.METADATA), _alone(_metadata)),
}


def meaning_of(key: ConditionKey) -> Meaning:
    """What a condition's values mean."""
    meaning = _CONDITION[key.kind]
    return Meaning(Attribute(meaning.attribute.kind, key.name), meaning.patterns) if key.name else meaning
