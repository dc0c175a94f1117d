"""What the `key` of a condition names (S-A9): parsed once, here, for everybody who acts on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

LONGEST_KEY = 1024
DEEPEST_CLAIM = 16


class ConditionKind(StrEnum):
    """Each kind by its word in YAML; of those with a name in brackets, the word before them."""

    HEADER = "request.headers"
    REQUEST_PRINCIPAL = "request.auth.principal"
    AUDIENCES = "request.auth.audiences"
    PRESENTER = "request.auth.presenter"
    CLAIM = "request.auth.claims"
    SOURCE_IP = "source.ip"
    REMOTE_IP = "remote.ip"
    NAMESPACE = "source.namespace"
    SERVICE_ACCOUNT = "source.serviceAccount"
    PRINCIPAL = "source.principal"
    TRUST_DOMAIN = "source.trustDomain"
    DESTINATION_IP = "destination.ip"
    DESTINATION_PORT = "destination.port"
    SNI = "connection.sni"
    METADATA = "experimental.envoy.filters"

    @property
    def http_only(self) -> bool:
        """It exists in HTTP requests only."""
        return self is ConditionKind.HEADER or self.value.startswith("request.auth.")

    @property
    def of_token(self) -> bool:
        """It is read from a verified token."""
        return self.value.startswith("request.auth.")

    @property
    def of_peer(self) -> bool:
        """It is read from the caller's certificate."""
        return self in _OF_PEER

    @property
    def address(self) -> bool:
        """Its values are addresses and blocks of addresses."""
        return self in (ConditionKind.SOURCE_IP, ConditionKind.REMOTE_IP, ConditionKind.DESTINATION_IP)


_OF_PEER = frozenset(
    {ConditionKind.NAMESPACE, ConditionKind.SERVICE_ACCOUNT, ConditionKind.PRINCIPAL, ConditionKind.TRUST_DOMAIN},
)
_NAMED = frozenset({ConditionKind.HEADER, ConditionKind.CLAIM, ConditionKind.METADATA})
_PLAIN = {kind.value: kind for kind in ConditionKind if kind not in _NAMED}
_HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110's token
_CLAIM = re.compile(r"request\.auth\.claims((?:\[[^\[\]]+\])+)")
_METADATA = re.compile(r"experimental\.(envoy\.filters\.[-.\w]+)\[([^\[\]]+)\]")
_REMOVED = ("destination.labels", "destination.name", "destination.namespace", "destination.user")


class ConditionKeyError(ValueError):
    """The key names nothing that a policy can ask."""


@dataclass(frozen=True, slots=True)
class ConditionKey:
    """What is asked: `name` is the header in lower case, the claim's path, or a filter and its key; else empty."""

    kind: ConditionKind
    name: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def parse_condition_key(text: str) -> ConditionKey:
    """What `text` names; ConditionKeyError says why it names nothing."""
    if len(text) > LONGEST_KEY:
        raise ConditionKeyError(f"the key is longer than {LONGEST_KEY} characters")
    if kind := _PLAIN.get(text):
        return ConditionKey(kind)
    if text.startswith(ConditionKind.HEADER):
        return _header(text)
    if text.startswith(ConditionKind.CLAIM):
        return _claim(text)
    if text.startswith(ConditionKind.METADATA):
        return _metadata(text)
    if text.split("[", maxsplit=1)[0] in _REMOVED:
        raise ConditionKeyError(f"{text!r} is no key any more; choose the destination by the policy's namespace and selector")
    raise ConditionKeyError(f"{text!r} is no key of a condition")


def _header(text: str) -> ConditionKey:
    name = text.removeprefix(ConditionKind.HEADER)
    if not (name.startswith("[") and name.endswith("]")):
        raise ConditionKeyError(f"{text!r} must be request.headers[NAME]")
    if not _HEADER.fullmatch(name[1:-1]):
        raise ConditionKeyError(f"{name[1:-1]!r} is no name of a header")
    return ConditionKey(ConditionKind.HEADER, (name[1:-1].lower(),))


def _claim(text: str) -> ConditionKey:
    found = _CLAIM.fullmatch(text)
    if not found:
        raise ConditionKeyError(f"{text!r} must be request.auth.claims[NAME], or [NAME][NAME] for a claim inside another")
    path = tuple(found[1][1:-1].split("]["))
    if len(path) > DEEPEST_CLAIM:
        raise ConditionKeyError(f"the claim lies {len(path)} levels deep; at most {DEEPEST_CLAIM} are allowed")
    return ConditionKey(ConditionKind.CLAIM, path)


def _metadata(text: str) -> ConditionKey:
    found = _METADATA.fullmatch(text)
    if not found:
        raise ConditionKeyError(f"{text!r} must be experimental.envoy.filters.FILTER[KEY]")
    return ConditionKey(ConditionKind.METADATA, (found[1], found[2]))


def condition_words() -> tuple[str, ...]:
    """Every key as it is written."""
    ends = {ConditionKind.HEADER: "[NAME]", ConditionKind.CLAIM: "[NAME]", ConditionKind.METADATA: ".FILTER[KEY]"}
    return tuple(f"{kind}{ends.get(kind, '')}" for kind in ConditionKind)
