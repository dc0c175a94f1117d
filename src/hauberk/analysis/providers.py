"""CUSTOM policies whose service is unknown, or that would need two services at one workload: what they match is denied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hauberk.analysis.world import World
from hauberk.api.authorization_policy import Action, AuthorizationPolicy
from hauberk.api.finding import Finding, Location
from hauberk.api.selector import has_labels
from hauberk.api.service import Service
from hauberk.api.sift import near_remedy
from hauberk.mesh.external_authorizer import NoAuthorizer, find_authorizers
from hauberk.mesh.service import MeshService, build_service
from hauberk.mesh.settings import MeshSettings

_AT: Location = ("spec", "provider", "name")


def check_provider(policy: AuthorizationPolicy, world: World) -> Iterator[Finding]:
    """What keeps the service from being asked."""
    if policy.spec.action is not Action.CUSTOM or policy.spec.provider is None:
        return
    name = policy.spec.provider.name
    provider = world.config.provider(name)
    if world.configured and (provider is None or provider.authorizes is None):
        known = [each.name for each in world.config.extension_providers if each.authorizes]
        why = "is of a kind that cannot authorize" if provider else f"does not exist; known are {', '.join(known) or 'none'}"
        yield Finding("HBK0350", _AT, f"the provider {name!r} {why}: what the policy matches is denied", near_remedy(name, known))
    elif not world.configured:
        message = (
            f"the files do not hold the mesh's settings; in a fresh mesh there is no provider {name!r}: what the policy matches is denied"
        )
        yield Finding("HBK0350", _AT, message, severity="info")
    elif world.whole:
        yield from _check_reached(policy, name, world)
    yield from _check_several(policy, name, world)


def _check_reached(policy: AuthorizationPolicy, name: str, world: World) -> Iterator[Finding]:
    domain = MeshSettings().cluster_domain
    services = {service.key: build_service(service, domain) for service in world.of(Service)}
    found = find_authorizers(world.config, services, domain)[name]
    if isinstance(found, NoAuthorizer):
        yield Finding("HBK0350", _AT, f"the provider {name!r} cannot be asked, {found.why}: what the policy matches is denied")
    elif found.service is not None:
        for carrier in world.selected(policy).carriers:
            if carrier.key.namespace == found.service.key.namespace and _selects(found.service, carrier.labels):
                message = f"the provider {name!r} is {found.host}, which the policy selects too: whatever it matches there is denied"
                yield Finding("HBK0350", _AT, message, "select the workloads that are to be guarded, or name their ports")
                return


def _selects(service: MeshService, labels: Mapping[str, str]) -> bool:
    return bool(service.selector) and has_labels(labels, service.selector)


def _check_several(policy: AuthorizationPolicy, name: str, world: World) -> Iterator[Finding]:
    for carrier in world.selected(policy).carriers:
        for other in world.policies(carrier):
            if other.spec.action is Action.CUSTOM and other.spec.provider and other.spec.provider.name != name:
                where = f"{carrier.key.kind} {carrier.key.namespace}/{carrier.key.name}"
                message = f"{other.metadata.namespace}/{other.metadata.name} asks {other.spec.provider.name!r} at {where}: one can be asked"
                yield Finding("HBK0351", _AT, message)
                return
