"""The mesh at one moment: everything that needs more than one object to answer, answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.config_map import ConfigMap
from hauberk.api.deployment import Deployment
from hauberk.api.mesh_config import MeshConfig
from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.peer_authentication import PeerAuthentication
from hauberk.api.pod import Pod
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.api.service import Service
from hauberk.mesh.authorization import build_authorization_policies, selected_policies
from hauberk.mesh.config import read_mesh_config
from hauberk.mesh.endpoints import Selection, ServiceEndpoints, ServicePeers, build_endpoints, build_peers
from hauberk.mesh.inbound import Inbound, build_inbound, with_limits, with_policies, with_tokens
from hauberk.mesh.issuer_keys import NO_KEYS, KnownKeys
from hauberk.mesh.names import NameEntry, build_name
from hauberk.mesh.peer_authentication import Modes, build_peer_authentications, effective_modes
from hauberk.mesh.rate_limit import build_rate_limits, selected_rate_limits
from hauberk.mesh.request_authentication import TokenRule, build_authentication, build_request_authentications, selected_tokens
from hauberk.mesh.reuse import Reuse
from hauberk.mesh.service import MeshService, build_service, with_own_addresses
from hauberk.mesh.settings import MeshSettings
from hauberk.mesh.template import build_template, templates_by_namespace
from hauberk.mesh.turning import Turning
from hauberk.mesh.turning import serving as serving_modes
from hauberk.mesh.workload import Workload, build_workload

Policies = tuple[AuthorizationPolicy, ...]
Tokens = tuple[TokenRule, ...]
Each = TypeVar("Each")
Kind = TypeVar("Kind", bound=ApiObject)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSnapshot:
    """Frozen indexes by object key. A part that is as it was in the previous snapshot is the same object.

    `reuse` remembers what was made of the parts, here and in the translation; it is handed from snapshot to snapshot.
    """

    settings: MeshSettings
    config: MeshConfig
    services: Mapping[ObjectKey, MeshService]
    workloads: Mapping[ObjectKey, Workload]
    endpoints: Mapping[ObjectKey, ServiceEndpoints]
    peers: Mapping[ObjectKey, ServicePeers]
    inbound: Mapping[ObjectKey, Inbound]
    names: Mapping[ObjectKey, NameEntry]
    keys: KnownKeys  # of the issuers of tokens
    modes: Mapping[ObjectKey, Modes] = field(default_factory=dict)  # as the objects want them, whoever is in its turn
    reuse: Reuse = field(compare=False, repr=False)

    def explain_workload(self, key: ObjectKey) -> Inbound | None:
        """What guards the pod `key`, or None if there is no such pod."""
        return self.inbound.get(key)


def build_snapshot(
    objects: Iterable[ApiObject],
    previous: MeshSnapshot | None,
    settings: MeshSettings | None = None,
    keys: KnownKeys | None = None,
    turning: Turning | None = None,
) -> MeshSnapshot:
    """The mesh that `objects` describe; the order in which they come makes no difference. `settings` and `keys`: as before if None."""
    reuse = previous.reuse if previous is not None else Reuse()
    settings = settings or (previous.settings if previous is not None else MeshSettings())
    if keys is None:
        keys = previous.keys if previous is not None else NO_KEYS
    return _Builder(objects, reuse, settings, keys, turning or Turning()).build()


class _Builder:
    """One pass over the objects; holds what several indexes are made from."""

    def __init__(self, objects: Iterable[ApiObject], reuse: Reuse, settings: MeshSettings, keys: KnownKeys, turning: Turning) -> None:
        self.kinds: dict[str, list[ApiObject]] = {}
        for each in objects:
            self.kinds.setdefault(each.kind, []).append(each)
        self.reuse = reuse
        self.settings = settings
        self.keys = keys
        self.turning = turning

    def build(self) -> MeshSnapshot:
        reuse, settings = self.reuse, self.settings
        config = reuse(read_mesh_config, settings.root_namespace, *self.of(ConfigMap))
        workloads = reuse.each(build_workload, {pod.key: (pod,) for pod in self.of(Pod)})
        services = self._services()
        modes = self._modes(workloads)
        turns = {key: turn for key, turn in self.turning.turns.items() if key in modes}
        calling = {**modes, **{key: turn.calling for key, turn in turns.items()}} if turns else modes
        serving = {**modes, **{key: serving_modes(modes[key], turn) for key, turn in turns.items()}} if turns else modes
        policies = self._policies(workloads)
        tokens = self._tokens(workloads)
        selected = _select(services, workloads)
        with_modes = {key: _with_modes(found, calling) for key, found in selected.items()}
        return MeshSnapshot(
            settings=settings,
            config=config,
            services=services,
            workloads=workloads,
            endpoints=reuse.each(build_endpoints, {key: (services[key], *found) for key, found in with_modes.items()}),
            peers=self._peers(services, with_modes),
            inbound=self._with_limits(
                self._with_tokens(self._inbound(services, workloads, selected, serving, policies), tokens), services, workloads
            ),
            names=reuse.each(build_name, {key: (services[key], *found) for key, found in selected.items()}),
            keys=self.keys,
            modes=modes,
            reuse=reuse,
        )

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Objects of one kind, by key: whatever depends on their order then depends on nothing."""
        found = [each for each in self.kinds.get(kind.__name__, ()) if isinstance(each, kind)]
        return sorted(found, key=_place)

    def _services(self) -> Mapping[ObjectKey, MeshService]:
        items = {service.key: (service,) for service in self.of(Service)}
        return self.reuse(with_own_addresses, self.reuse.each(build_service, items, self.settings.cluster_domain))

    def _modes(self, workloads: Mapping[ObjectKey, Workload]) -> Mapping[ObjectKey, Modes]:
        index = self.reuse(build_peer_authentications, self.settings.root_namespace, *self.of(PeerAuthentication))
        return self.reuse.each(effective_modes, _single(workloads), index)

    def _policies(self, workloads: Mapping[ObjectKey, Workload]) -> Mapping[ObjectKey, Policies]:
        index = self.reuse(build_authorization_policies, self.settings.root_namespace, *self.of(AuthorizationPolicy))
        found = self.reuse.each(selected_policies, _single(workloads), index)
        return self.reuse(_one_object_each, found)

    def _tokens(self, workloads: Mapping[ObjectKey, Workload]) -> Mapping[ObjectKey, Tokens]:
        made = self.reuse.each(build_authentication, {each.key: (each,) for each in self.of(RequestAuthentication)}, self.keys)
        index = self.reuse(build_request_authentications, self.settings.root_namespace, *made.values())
        found = self.reuse.each(selected_tokens, _single(workloads), index)
        return self.reuse(_one_object_each, found, scope=RequestAuthentication)

    def _with_tokens(self, inbound: Mapping[ObjectKey, Inbound], tokens: Mapping[ObjectKey, Tokens]) -> Mapping[ObjectKey, Inbound]:
        return self.reuse.each(with_tokens, {key: (each, tokens[key]) for key, each in inbound.items()})

    def _peers(
        self, services: Mapping[ObjectKey, MeshService], selected: Mapping[ObjectKey, tuple[Workload | Modes, ...]]
    ) -> Mapping[ObjectKey, ServicePeers]:
        made = self.reuse.each(build_template, {deployment.key: (deployment,) for deployment in self.of(Deployment)})
        templates = self.reuse(templates_by_namespace, *made.values())
        items = {key: (services[key], templates.get(key.namespace, ()), *found) for key, found in selected.items()}
        return self.reuse.each(build_peers, items)

    def _with_limits(
        self, inbound: Mapping[ObjectKey, Inbound], services: Mapping[ObjectKey, MeshService], workloads: Mapping[ObjectKey, Workload]
    ) -> Mapping[ObjectKey, Inbound]:
        policies = self.of(RateLimitPolicy)
        if not policies:
            return inbound
        index = self.reuse(build_rate_limits, self.settings.root_namespace, services, *policies, *self.of(Deployment))
        found = self.reuse(_one_object_each, self.reuse.each(selected_rate_limits, _single(workloads), index), scope=RateLimitPolicy)
        return self.reuse.each(with_limits, {key: (each, found[key]) for key, each in inbound.items()})

    def _inbound(
        self,
        services: Mapping[ObjectKey, MeshService],
        workloads: Mapping[ObjectKey, Workload],
        selected: Mapping[ObjectKey, tuple[Workload, ...]],
        modes: Mapping[ObjectKey, Modes],
        policies: Mapping[ObjectKey, Policies],
    ) -> Mapping[ObjectKey, Inbound]:
        selecting: dict[ObjectKey, list[MeshService]] = {}
        for service in self.reuse(_oldest_first, services):
            for workload in selected[service.key]:
                selecting.setdefault(workload.key, []).append(service)
        meshed = {key: workload for key, workload in workloads.items() if workload.meshed}
        # In two steps: a policy of the namespace concerns a thousand workloads, and their ports not at all.
        unguarded = self.reuse.each(_unguarded, {key: (w, modes[key], *selecting.get(key, ())) for key, w in meshed.items()})
        return self.reuse.each(with_policies, {key: (inbound, policies[key]) for key, inbound in unguarded.items()})


def _unguarded(workload: Workload, modes: Modes, *services: MeshService) -> Inbound:
    return build_inbound(workload, modes, (), *services)


def _with_modes(workloads: tuple[Workload, ...], modes: Mapping[ObjectKey, Modes]) -> tuple[Workload | Modes, ...]:
    return tuple(chain.from_iterable((workload, modes[workload.key]) for workload in workloads))


def _select(services: Mapping[ObjectKey, MeshService], workloads: Mapping[ObjectKey, Workload]) -> dict[ObjectKey, tuple[Workload, ...]]:
    by_namespace: dict[str, list[Workload]] = {}
    for workload in workloads.values():
        by_namespace.setdefault(workload.namespace, []).append(workload)
    selections = {namespace: Selection(found) for namespace, found in by_namespace.items()}
    nothing = Selection(())
    return {key: selections.get(key.namespace, nothing).of(service.selector) for key, service in services.items()}


def _one_object_each(policies: Mapping[ObjectKey, tuple[Each, ...]]) -> Mapping[ObjectKey, tuple[Each, ...]]:
    # A namespace's thousand workloads are mostly selected by the same policies: one tuple lets their translation be shared by identity.
    seen: dict[tuple[int, ...], tuple[Each, ...]] = {}
    return {key: seen.setdefault(tuple(map(id, found)), found) for key, found in policies.items()}


def _oldest_first(services: Mapping[ObjectKey, MeshService]) -> tuple[MeshService, ...]:
    return tuple(sorted(services.values(), key=_age))


def _age(service: MeshService) -> tuple[object, str, str]:
    return service.age


def _place(each: ApiObject) -> tuple[str, str]:
    return each.metadata.namespace, each.metadata.name


def _single(items: Mapping[ObjectKey, Workload]) -> dict[ObjectKey, tuple[Workload]]:
    return {key: (workload,) for key, workload in items.items()}
