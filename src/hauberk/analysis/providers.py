"""CUSTOM policies whose service is unknown, or that would need two services at one workload: what they match is denied."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.analysis.world import World
from hauberk.api.authorization_policy import Action, AuthorizationPolicy
from hauberk.api.finding import Finding, Location
from hauberk.api.sift import near_remedy

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
    yield from _check_several(policy, name, world)


def _check_several(policy: AuthorizationPolicy, name: str, world: World) -> Iterator[Finding]:
    for carrier in world.selected(policy).carriers:
        for other in world.policies(carrier):
            if other.spec.action is Action.CUSTOM and other.spec.provider and other.spec.provider.name != name:
                where = f"{carrier.key.kind} {carrier.key.namespace}/{carrier.key.name}"
                message = f"{other.metadata.namespace}/{other.metadata.name} asks {other.spec.provider.name!r} at {where}: one can be asked"
                yield Finding("HBK0351", _AT, message)
                return
