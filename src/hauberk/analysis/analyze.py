"""Everything there is to say of objects beside what is wrong in each by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from hauberk.analysis.breadth import check_breadth
from hauberk.analysis.callers import check_callers
from hauberk.analysis.fitting import check_account, check_selector, check_service
from hauberk.analysis.identities import check_identities
from hauberk.analysis.peer_authentications import check_peer_authentication
from hauberk.analysis.ports import check_ports
from hauberk.analysis.providers import check_provider
from hauberk.analysis.rate_limits import check_rate_limits
from hauberk.analysis.remark import Remark
from hauberk.analysis.shadows import shadows
from hauberk.analysis.tokens import check_asked, check_authentication
from hauberk.analysis.values import check_values
from hauberk.analysis.world import World
from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.deployment import Deployment
from hauberk.api.finding import Finding
from hauberk.api.kinds import KINDS
from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.peer_authentication import PeerAuthentication
from hauberk.api.pod import Pod
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.api.service import Service


def world_of(objects: Iterable[ApiObject], *, root_namespace: str, whole: bool, foreign: tuple[str, ...] | None = None) -> World:
    """The world that consists of `objects`."""
    found: dict[str, list[ApiObject]] = {}
    for each in objects:
        found.setdefault(each.kind, []).append(each)
    kinds = {kind: tuple(each) for kind, each in found.items()}
    return World(objects=lambda kind: kinds.get(kind, ()), root_namespace=root_namespace, whole=whole, foreign=foreign)


def analyze(world: World, concerning: Collection[ObjectKey] | None = None) -> tuple[Remark, ...]:
    """Every remark, by object; with `concerning` only those that are about these objects, or would not be without them."""
    items = [item for kind in KINDS for item in world.objects(kind.name) if concerning is None or item.key in concerning]
    found = [remark for item in items for remark in remarks_of(item, world)]
    if concerning is None or any(isinstance(item, AuthorizationPolicy) for item in items):
        found += (each for each in shadows(world) if concerning is None or each.about in concerning or each.other in concerning)
    order = {item.key: number for number, item in enumerate(items)}
    return tuple(sorted(dict.fromkeys(found), key=lambda each: order.get(each.about, len(order))))


def own_remarks(world: World) -> tuple[Remark, ...]:
    """What was said of each object by itself when it was applied, and is still so."""
    items = (item for kind in KINDS for item in world.objects(kind.name))
    return tuple(Remark(item.key, finding) for item in items for finding in item.findings())


def remarks_of(item: ApiObject, world: World) -> Iterator[Remark]:
    """What is to be said of one object, apart from what comparing all rules shows."""
    return (Remark(item.key, finding) for finding in _findings(item, world))


def _findings(item: ApiObject, world: World) -> Iterator[Finding]:
    match item:
        case Service():
            yield from check_service(item, world)
        case Pod():
            yield from check_account(item, item.spec, ("spec",), world)
        case Deployment():
            yield from check_account(item, item.spec.template.spec, ("spec", "template", "spec"), world)
        case PeerAuthentication():
            yield from check_peer_authentication(item, world)
        case AuthorizationPolicy() if not item.spec.targets:
            yield from _of_policy(item, world)
        case RequestAuthentication() if not item.spec.targets:
            yield from check_selector(item, world)
            yield from check_authentication(item, world)
        case RateLimitPolicy():
            yield from check_rate_limits(item, world)
        case _:
            return


def _of_policy(policy: AuthorizationPolicy, world: World) -> Iterator[Finding]:
    yield from check_selector(policy, world)
    yield from check_values(policy, world)
    yield from check_callers(policy, world)
    yield from check_ports(policy, world)
    yield from check_asked(policy, world)
    yield from check_identities(policy, world)
    yield from check_provider(policy, world)
    yield from check_breadth(policy)
