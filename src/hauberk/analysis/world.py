"""What an object is held against: all objects, of a mesh or of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol as Shape
from typing import TypeVar

from hauberk.analysis.carriers import Carrier, Carriers, carrier_of
from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.config_map import ConfigMap
from hauberk.api.deployment import Deployment
from hauberk.api.mesh_config import NAME, MeshConfig
from hauberk.api.metadata import ApiObject, Metadata, ObjectKey
from hauberk.api.namespace import Namespace
from hauberk.api.peer_authentication import Mtls, MtlsMode, PeerAuthentication, PeerAuthenticationSpec
from hauberk.api.pod import Pod
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.api.selector import WorkloadSelector, has_labels
from hauberk.api.service import Service
from hauberk.api.service_account import ServiceAccount
from hauberk.mesh.config import read_mesh_config
from hauberk.mesh.peer_authentication import Modes, PeerAuthentications, build_peer_authentications, effective_modes
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.service import MeshService, build_service
from hauberk.policy.normalize import normalize
from hauberk.policy.rule import NormalPolicy
from hauberk.policy.trust_domains import TrustDomains

T = TypeVar("T", bound=ApiObject)


class _SelectingSpec(Shape):
    @property
    def selector(self) -> WorkloadSelector: ...


class Selecting(Shape):
    """A policy that concerns workloads by their labels."""

    @property
    def metadata(self) -> Metadata: ...
    @property
    def spec(self) -> _SelectingSpec: ...


@dataclass(frozen=True, kw_only=True)
class World:
    """`objects` gives all of a kind. `whole`: it is a mesh; else files, beside which there may be others that nobody was shown."""

    objects: Callable[[str], tuple[ApiObject, ...]]
    root_namespace: str
    whole: bool
    foreign: tuple[str, ...] | None = None  # trust domains that the mesh is federated with; None: nobody said

    def of(self, model: type[T]) -> tuple[T, ...]:
        """All objects of a kind, typed."""
        return tuple(each for each in self.objects(model.__name__) if isinstance(each, model))

    @cached_property
    def carriers(self) -> Carriers:
        """Whatever a selector can select; only looked at when there is a selector."""
        return Carriers((*(Carrier(pod.key, pod) for pod in self.of(Pod)), *map(carrier_of, self.of(Deployment))))

    @cached_property
    def namespaces(self) -> frozenset[str]:
        """Those that are declared."""
        return frozenset(each.metadata.name for each in self.of(Namespace))

    @cached_property
    def accounts(self) -> frozenset[tuple[str, str]]:
        """Namespace and name of every ServiceAccount; each namespace has one called default."""
        return frozenset((each.metadata.namespace, each.metadata.name) for each in self.of(ServiceAccount))

    @cached_property
    def identities(self) -> frozenset[tuple[str, str]]:
        """Namespace and account of everything that may run: accounts, and processes in no pod that the settings name."""
        return self.accounts | {entry.account for entry in self.config.hauberk.workload_entries}

    @cached_property
    def populated(self) -> frozenset[str]:
        """Namespaces of which the programs or accounts are known, so that what is missing there is missing indeed."""
        if self.whole:
            return self.namespaces
        return frozenset({*self.carriers.namespaces, *(namespace for namespace, _ in self.accounts)})

    @cached_property
    def config(self) -> MeshConfig:
        """The settings of the mesh."""
        return read_mesh_config(self.root_namespace, *self.of(ConfigMap))

    @cached_property
    def configured(self) -> bool:
        """The settings are known, and not only assumed."""
        return self.whole or any(
            (each.metadata.namespace, each.metadata.name) == (self.root_namespace, NAME) for each in self.of(ConfigMap)
        )

    @cached_property
    def domains(self) -> TrustDomains:
        """What the trust domain of a principal means."""
        return TrustDomains(self.config.trust_domain, self.config.trust_domain_aliases, self.foreign or ())

    def scope(self, policy: Selecting) -> tuple[str, ...]:
        """The namespaces whose workloads the policy concerns."""
        namespace = policy.metadata.namespace
        if namespace != self.root_namespace:
            return (namespace,)
        return self._everywhere

    def selected(self, policy: Selecting) -> Group:
        """What the policy selects: one group for all policies that select the same."""
        labels, scope = policy.spec.selector.match_labels, self.scope(policy)
        key = (scope, frozenset(labels.items()))
        if key not in self._groups:
            self._groups[key] = Group(self, tuple(self.carriers.selected(scope, labels)))
        return self._groups[key]

    @cached_property
    def _groups(self) -> dict[tuple[tuple[str, ...], frozenset[tuple[str, str]]], Group]:
        return {}

    @cached_property
    def _everywhere(self) -> tuple[str, ...]:
        return tuple(sorted({*self.namespaces, *self.carriers.namespaces}))

    def normal(self, policy: AuthorizationPolicy) -> NormalPolicy:
        """The policy in its normal form."""
        return normalize(policy, self.domains)

    def authentications(self, carrier: Carrier) -> list[RequestAuthentication]:
        """What verifies tokens there."""
        spaces = dict.fromkeys((carrier.namespace, self.root_namespace))
        found = (each for namespace in spaces for each in self._authentications.get(namespace, ()))
        return [each for each in found if has_labels(carrier.labels, each.spec.selector.match_labels)]

    def policies(self, carrier: Carrier) -> list[AuthorizationPolicy]:
        """The policies that select the carrier."""
        spaces = dict.fromkeys((carrier.namespace, self.root_namespace))
        found = (each for namespace in spaces for each in self.policies_of.get(namespace, ()))
        return [each for each in found if has_labels(carrier.labels, each.spec.selector.match_labels)]

    @cached_property
    def _authentications(self) -> Mapping[str, list[RequestAuthentication]]:
        return _by_namespace(each for each in self.of(RequestAuthentication) if not each.spec.targets)

    @cached_property
    def policies_of(self) -> Mapping[str, list[AuthorizationPolicy]]:
        """The policies that sidecars enforce, by namespace."""
        return _by_namespace(each for each in self.of(AuthorizationPolicy) if not each.spec.targets)

    def modes(self, carrier: Carrier) -> Modes:
        """Which of its ports demand a certificate."""
        known = self._modes_of.get(carrier.key)
        if known is None:
            known = self._modes_of[carrier.key] = effective_modes(carrier.workload, self._modes)
        return known

    @cached_property
    def _modes_of(self) -> dict[ObjectKey, Modes]:
        return {}

    @cached_property
    def _modes(self) -> PeerAuthentications:
        found = self.of(PeerAuthentication)
        wide = any(each.metadata.namespace == self.root_namespace and not each.spec.selector.match_labels for each in found)
        # A mesh begins with STRICT; files say nothing of that, and whoever changed it in a mesh is seen there.
        return build_peer_authentications(self.root_namespace, *found, *(() if self.whole or wide else (self._first,)))

    @property
    def _first(self) -> PeerAuthentication:
        metadata = Metadata(name="default", namespace=self.root_namespace)
        return PeerAuthentication(metadata=metadata, spec=PeerAuthenticationSpec(mtls=Mtls(mode=MtlsMode.STRICT)))

    def ports(self, carrier: Carrier) -> Mapping[int, Protocol]:
        """The ports of the carrier that somebody named, with what they speak as far as a Service says."""
        found = dict.fromkeys(carrier.declared, Protocol.SNIFFED)
        for service in self.services(carrier):
            for port in service.ports:
                number = port.number_on(carrier.workload)
                if number is not None and found.get(number, Protocol.SNIFFED) is Protocol.SNIFFED:
                    found[number] = port.protocol
        return found

    def services(self, carrier: Carrier) -> list[MeshService]:
        """The Services that send to it, the oldest first."""
        candidates = (each for label in carrier.labels.items() for each in self._services.get((carrier.namespace, *label), ()))
        return sorted((each for each in candidates if has_labels(carrier.labels, each.selector)), key=lambda each: each.age)

    @cached_property
    def _services(self) -> Mapping[tuple[str, str, str], list[MeshService]]:
        found: dict[tuple[str, str, str], list[MeshService]] = {}
        for service in self.of(Service):
            if service.spec.selector:
                label = next(iter(service.spec.selector.items()))
                # Addresses and host names make no difference here.
                found.setdefault((service.metadata.namespace, *label), []).append(build_service(service, "cluster.local"))
        return found


@dataclass(frozen=True)
class Group:
    """Workloads that one policy selects, with what many policies want to know of them together."""

    world: World
    carriers: tuple[Carrier, ...]

    @cached_property
    def meshed(self) -> tuple[Carrier, ...]:
        """Those with a sidecar."""
        return tuple(carrier for carrier in self.carriers if carrier.workload.meshed)

    @cached_property
    def modes(self) -> frozenset[MtlsMode]:
        """The modes of all their ports."""
        found = map(self.world.modes, self.meshed)
        return frozenset(mode for each in found for mode in (each.default, *(one for _, one in each.ports)))

    @cached_property
    def ports(self) -> tuple[Mapping[int, Protocol], ...]:
        """The ports of each, every combination once."""
        found = (self.world.ports(carrier) for carrier in self.meshed)
        return tuple({tuple(sorted((number, speaks.value) for number, speaks in each.items())): each for each in found}.values())

    @cached_property
    def authentications(self) -> tuple[RequestAuthentication, ...]:
        """What verifies tokens at any of them."""
        return tuple({each.key: each for carrier in self.carriers for each in self.world.authentications(carrier)}.values())

    @cached_property
    def issuers(self) -> frozenset[str]:
        """Whose tokens are verified at any of them."""
        return frozenset(rule.issuer for each in self.authentications for rule in each.spec.jwt_rules)


def _by_namespace(policies: Iterable[T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for each in policies:
        found.setdefault(each.metadata.namespace, []).append(each)
    return found
