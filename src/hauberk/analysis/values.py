"""Values that can never match, mostly because of a typing error: they deny nothing, or allow nothing, and nobody notices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from hauberk.analysis.clauses import Clause, clauses
from hauberk.analysis.pattern_cover import contradict
from hauberk.analysis.world import World
from hauberk.api.authorization_policy import Action, AuthorizationPolicy
from hauberk.api.condition_key import ConditionKind
from hauberk.api.finding import Finding, Location
from hauberk.api.mesh_config import MeshConfig
from hauberk.api.rate_limit import LimitMatch
from hauberk.policy.rule import NormalRule, Question
from hauberk.policy.trust_domains import ANY_MESH

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_PRINCIPAL = re.compile(r"[^/]+/ns/[^/]+/sa/[^/]+")
_AMBIGUOUS = re.compile(r"%2f|%5c|%3b|%00|%25[0-9a-f]{2}|;|\\|//", re.IGNORECASE)


def check_values(policy: AuthorizationPolicy, world: World) -> Iterator[Finding]:
    """Values that match nothing, and rules whose clauses exclude each other."""
    for clause in clauses(policy):
        for index, value in enumerate(clause.values):
            if fault := _fault(clause, value, world):
                why, remedy = fault
                yield Finding("HBK0355", (*clause.at, index), f"{value!r} matches nothing: {why}", remedy)
    for rule in world.normal(policy).rules:
        yield from _check_contradiction(rule)
    if policy.spec.action is Action.AUDIT and not policy.spec.rules:
        yield Finding("HBK0362", ("spec", "rules"), "AUDIT without rules notes nothing")


Fault = tuple[str, str | None]  # why, and what to do


def limit_values(match: LimitMatch, at: Location, world: World) -> Iterator[Finding]:
    """Values of a limit's match that no request has."""
    lists = {
        "methods": (match.methods, match.not_methods),
        "paths": (match.paths, match.not_paths),
        "hosts": (match.hosts, match.not_hosts),
    }
    for name, (wanted, excluded) in lists.items():
        for field, values in ((name, wanted), (f"not{name.title()}", excluded)):
            for index, value in enumerate(values):
                if fault := _CHECKS[name](value, world.config):
                    yield Finding("HBK0355", (*at, field, index), f"{value!r} matches nothing: {fault[0]}", fault[1])


def _fault(clause: Clause, value: str, world: World) -> Fault | None:
    check = _CHECKS.get(clause.asks)
    return check(value, world.config) if check else None


def _method_fault(value: str, config: MeshConfig) -> Fault | None:
    upper = value.upper()
    if value == upper:
        return None
    if upper in _METHODS:
        return "methods are upper case", f"write {upper}"
    # Some programs take such a method for the one in capitals, so that a request with it is refused where policies ask about methods.
    why = "a method in lower case is refused before, since programs may read it in capitals"
    return (why, "see hauberk.ambiguousPaths") if config.hauberk.ambiguous_paths == "DENY" else None


def _path_fault(value: str, config: MeshConfig) -> Fault | None:
    if "?" in value or "#" in value:
        return "the query and the fragment of a path are not looked at", "leave out what begins with ? or #"
    if not value.startswith(("/", "*")):
        return "every path begins with a slash", f"write /{value}"
    normal = config.path_normalization.normalization
    if normal != "NONE" and ("/../" in value or "/./" in value):
        return "segments of dots are resolved before policies are asked", "write the path without them"
    if normal in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES") and "//" in value:
        return "repeated slashes are merged before policies are asked", "write one slash"
    if config.hauberk.ambiguous_paths == "DENY" and (found := _AMBIGUOUS.search(value)):
        return f"a path that holds {found[0]} can be read in two ways, and is refused before", "see hauberk.ambiguousPaths"
    return None


def _principal_fault(value: str, config: MeshConfig) -> Fault | None:
    domain = value.partition("/")[0]
    if "*" in value or value.startswith("spiffe://") or _PRINCIPAL.fullmatch(value):
        return None
    # Programs of other domains, and those outside of pods, may have identities of another form.
    if "/" in value and domain not in (ANY_MESH, config.trust_domain, *config.trust_domain_aliases):
        return None
    if "/" in value and "/ns/" not in value and "/sa/" not in value:
        return None
    return "it is no identity of a pod", "write TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"


def _host_fault(value: str, _: MeshConfig) -> Fault | None:
    if "/" not in value:
        return None
    return "a host has neither scheme nor path", f"write {value.rpartition('://')[2].partition('/')[0]}"


def _header_fault(value: str, config: MeshConfig) -> Fault | None:
    if value == value.strip() or config.hauberk.ambiguous_paths == "ALLOW":
        return None
    return "a header with a blank at its end can be read in two ways, and is refused before", "leave the blank out"


_CHECKS: Final[dict[ConditionKind | str, Callable[[str, MeshConfig], Fault | None]]] = {
    "methods": _method_fault,
    "paths": _path_fault,
    "hosts": _host_fault,
    ConditionKind.PRINCIPAL: _principal_fault,
    ConditionKind.HEADER: _header_fault,
}


def _check_contradiction(rule: NormalRule) -> Iterator[Finding]:
    """Parts of the rule that never hold; where every way to match is such a part, the whole rule."""
    at: Location = ("spec", "rules", rule.id.rule)
    if found := contradict(rule.conditions):
        yield Finding("HBK0343", at, _told(*found))
        return
    for name, alternatives in (("from", rule.sources), ("to", rule.operations)):
        for index, alternative in enumerate(alternatives):
            if found := contradict((*rule.conditions, *alternative)):
                yield Finding("HBK0343", (*at, name, index), _told(*found))


def _told(one: Question, other: Question) -> str:
    return f"{_short(one)} and {_short(other)} never hold together"


def _short(question: Question) -> str:
    values = ", ".join(question.values[:3]) + (", …" if len(question.values) > 3 else "")
    return f"{question.path.partition('.')[2].partition('.')[2] or question.path} ({values})"
