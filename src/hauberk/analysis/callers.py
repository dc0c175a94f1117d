"""Callers that nobody is: accounts, namespaces and trust domains that do not exist."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from hauberk.analysis.clauses import Clause, clauses
from hauberk.analysis.world import World
from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.condition_key import ConditionKind
from hauberk.api.finding import Finding, Location
from hauberk.api.sift import near_remedy
from hauberk.policy.trust_domains import ANY_MESH

MOST_TOLD = 10  # of one list, since a list of thousands may be made by a program from something that is gone
_MOST_COMPARED = 200  # names to find a near one among

_PRINCIPAL = re.compile(r"(?P<domain>[^/]+)/ns/(?P<namespace>[^/]+)(/sa/(?P<account>[^/]+)|/.*)?")


def check_callers(policy: AuthorizationPolicy, world: World) -> Iterator[Finding]:
    """What the policy says of callers that cannot be."""
    for clause in clauses(policy):
        found = [
            finding
            for index, value in enumerate(clause.values)
            for finding in _check((*clause.at, index), clause, value, policy.metadata.namespace, world)
        ]
        yield from found[:MOST_TOLD]
        if len(found) > MOST_TOLD:
            message = f"{len(found) - MOST_TOLD} more of these values mean nobody, for like reasons"
            yield replace(found[MOST_TOLD], at=clause.at, message=message, remedy=None)


def _check(at: Location, clause: Clause, value: str, namespace: str, world: World) -> Iterator[Finding]:
    match clause.asks:
        case ConditionKind.NAMESPACE:
            yield from _check_namespace(at, value, world)
        case ConditionKind.SERVICE_ACCOUNT:
            space, slash, name = value.partition("/")
            yield from _check_account(at, space if slash else namespace, name if slash else value, world)
        case ConditionKind.TRUST_DOMAIN:
            yield from _check_domain(at, value, world)
        case ConditionKind.PRINCIPAL:
            yield from _check_principal(at, value, world)
        case _:
            return


def _check_principal(at: Location, value: str, world: World) -> Iterator[Finding]:
    found = _PRINCIPAL.fullmatch(value)
    if not found:
        return
    domain, namespace, account = found["domain"], found["namespace"], found["account"]
    if "*" not in domain:
        yield from _check_domain(at, domain, world)
    ours = domain in ("*", ANY_MESH) or domain in world.domains.names
    if ours and account and "*" not in value.partition("/")[2]:
        yield from _check_account(at, namespace, account, world)
    elif ours:
        yield from _check_namespace(at, namespace, world)


def _check_domain(at: Location, value: str, world: World) -> Iterator[Finding]:
    known = (ANY_MESH, *world.domains.accepted)
    if any(fnmatchcase(name, value) for name in known):
        return
    near = near_remedy(value, known)
    message = f"the trust domain {value!r} is neither this mesh's ({', '.join(world.domains.names)}) nor one it is federated with"
    # With which meshes this one is federated no file says: of files only what looks like a typing error is more than a possibility.
    if near or world.foreign is not None:
        yield Finding("HBK0345", at, message, near)
    else:
        yield Finding("HBK0345", at, f"{message}, as far as files say", severity="info")


def _check_namespace(at: Location, value: str, world: World) -> Iterator[Finding]:
    if not world.namespaces and not world.whole:
        return
    known = {*world.namespaces, *world.populated, world.root_namespace, *(() if world.whole else ("default",))}
    if not any(fnmatchcase(name, value) for name in known):
        yield Finding("HBK0346", at, f"there is no namespace {value!r}", _near(value, known))


def _check_account(at: Location, namespace: str, name: str, world: World) -> Iterator[Finding]:
    if namespace not in world.populated:
        yield from _check_namespace(at, namespace, world)
        return
    known = {account for space, account in world.identities if space == namespace} | {"default"}
    if name not in known:
        yield Finding("HBK0344", at, f"there is no ServiceAccount {name} in namespace {namespace}", _near(name, known))


def _near(word: str, known: Collection[str]) -> str | None:
    return near_remedy(word, known) if len(known) <= _MOST_COMPARED else None
