"""RequestAuthentications that concern a workload, and the issuers whose tokens it therefore verifies (S-J2, S-J8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from hauberk.api.jwt_rule import JwtRule
from hauberk.api.metadata import ObjectKey
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.api.selector import WorkloadSelector
from hauberk.mesh.issuer_keys import IssuerKeys, KnownKeys, keys_of
from hauberk.mesh.workload import Workload

# Bytes of keys, counted for each place in which tokens may stand. Thirty issuers with ten keys each need a quarter of it.
LARGEST: Final = 1 << 20
_TOO_LARGE: Final = IssuerKeys(problem=f"the keys of all issuers of one workload are larger than {LARGEST >> 10} kB")


@dataclass(frozen=True, slots=True)
class TokenRule:
    """One issuer whose tokens are verified: the rule as written, where it stands, and the keys it is verified with."""

    rule: JwtRule
    origin: ObjectKey
    path: str  # spec.jwtRules[0]
    keys: IssuerKeys


@dataclass(frozen=True, slots=True)
class Authentication:
    """The rules of one object, and whom they concern."""

    namespace: str
    selector: WorkloadSelector
    rules: tuple[TokenRule, ...]


@dataclass(frozen=True, slots=True)
class RequestAuthentications:
    """For each namespace what may concern its workloads; `elsewhere` what is in the root namespace alone."""

    elsewhere: tuple[Authentication, ...]
    by_namespace: Mapping[str, tuple[Authentication, ...]] = field(repr=False)


def build_authentication(found: RequestAuthentication, known: KnownKeys) -> Authentication:
    """The rules of `found` with their keys. What is attached to an object by name (`targetRefs`) concerns no sidecar (S-A11)."""
    spec = found.spec
    rules = () if spec.targets else spec.jwt_rules
    made = (TokenRule(rule, found.key, f"spec.jwtRules[{index}]", keys_of(rule, known)) for index, rule in enumerate(rules))
    return Authentication(found.metadata.namespace, spec.selector, tuple(made))


def build_request_authentications(root_namespace: str, *found: Authentication) -> RequestAuthentications:
    """Index of `found`."""
    namespaces: dict[str, list[Authentication]] = {}
    for each in found:
        namespaces.setdefault(each.namespace, []).append(each)
    # Those of the root namespace concern every namespace.
    root = namespaces.pop(root_namespace, [])
    return RequestAuthentications(tuple(root), {namespace: (*own, *root) for namespace, own in namespaces.items()})


def selected_tokens(workload: Workload, index: RequestAuthentications) -> tuple[TokenRule, ...]:
    """The issuers whose tokens `workload` verifies: all that any object says of it, by issuer; none overrides another."""
    candidates = index.by_namespace.get(workload.namespace, index.elsewhere)
    return tuple(_within(_by_issuer(rule for each in candidates if each.selector.matches(workload.labels) for rule in each.rules)))


def _by_issuer(rules: Iterable[TokenRule]) -> list[TokenRule]:
    # Of one issuer twice the first that a token satisfies counts; the order must not depend on that of the objects.
    return sorted(rules, key=lambda each: (each.rule.issuer, each.origin, each.path))


def _within(rules: Iterable[TokenRule]) -> Iterator[TokenRule]:
    """The rules, as long as what a sidecar is told of them is of a size that it can be told; beyond that nobody's tokens are good."""
    size = 0
    for each in rules:
        size += len(each.keys.jwks) * _places(each.rule)
        yield each if size <= LARGEST else replace(each, keys=_TOO_LARGE)


def _places(rule: JwtRule) -> int:
    """How often a sidecar is told the keys: for each place in which a token may stand."""
    return len(rule.from_headers) + len(rule.from_params) + len(rule.from_cookies) if rule.has_locations else 2
