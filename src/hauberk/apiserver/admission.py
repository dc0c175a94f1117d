"""What becomes of an object on its way into the store: what it keeps of its former self, what the server gives, what is refused.

One rule for apply: the document is the whole object, except for what only the server says (addresses, node, status, uid …),
and except for two things that other commands write into a Deployment and that a file usually leaves out: the number of
replicas (`hauberk scale`) and the time of the last restart (`hauberk rollout restart`). Both stay unless the document names them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hauberk.api.config_map import ConfigMap
from hauberk.api.deployment import Deployment
from hauberk.api.finding import Finding, Location
from hauberk.api.kinds import kind_named
from hauberk.api.mesh_config import KEY, NAME, mesh_config_of
from hauberk.api.metadata import ApiObject
from hauberk.api.namespace import Namespace
from hauberk.api.origin import NOWHERE, Origin
from hauberk.api.pod import Pod, PodSpec
from hauberk.api.problem import Problem
from hauberk.api.service import Service
from hauberk.apiserver.rules import Rules
from hauberk.apiserver.service_addresses import AddressFixed, AddressRefused, Allocation
from hauberk.sources.draft import Draft

RESTARTED = "kubectl.kubernetes.io/restartedAt"

_TOGETHER = "delete the object and create it anew"


@dataclass
class Admission:
    """The checks of one transaction, against what the draft holds."""

    draft: Draft
    rules: Rules

    @cached_property
    def allocation(self) -> Allocation:
        """Services' addresses; only looked at when there is a Service, since most changes concern none."""
        return Allocation.of(self.rules.ranges, self.draft.of(Service))

    def admit(self, item: ApiObject, origin: Origin = NOWHERE) -> tuple[ApiObject, tuple[Problem, ...]]:
        """The object as it is to be stored, and what is wrong with it; with an error among that it must not be."""
        present = self.draft.get(item.key)
        admitted, findings = item, list(self._check_place(item, present))
        if not findings:
            admitted, more = self._shape(_carried(item, present), present)
            findings.extend(more)
        return admitted, tuple(origin.problem(each, str(item.key)) for each in findings)

    def _check_place(self, item: ApiObject, present: ApiObject | None) -> Iterator[Finding]:
        kind = kind_named(item.kind)
        if kind is not None and kind.namespaced:
            yield from self._check_namespace(item.metadata.namespace)
        if present is not None and present.metadata.deletion_timestamp is not None:
            yield Finding("HBK0502", (), "the object is being deleted", "wait until it is gone, and repeat the command")

    def _check_namespace(self, name: str) -> Iterator[Finding]:
        namespace = self.draft.find(Namespace, "", name)
        at = ("metadata", "namespace")
        if namespace is None:
            yield Finding("HBK0504", at, f"there is no namespace {name}")
        elif namespace.metadata.deletion_timestamp is not None:
            yield Finding("HBK0504", at, f"namespace {name} is being deleted", "wait until it is gone, and create it anew")

    def _shape(self, item: ApiObject, present: ApiObject | None) -> tuple[ApiObject, list[Finding]]:
        match item:
            case Service():
                return self._shape_service(item, present if isinstance(present, Service) else None)
            case Pod():
                return self._shape_pod(item, present if isinstance(present, Pod) else None)
            case Deployment():
                shaped, findings = _shape_deployment(item, present if isinstance(present, Deployment) else None)
                return shaped, [*self._check_node(("spec", "template", "spec"), item.spec.template.spec), *findings]
            case ConfigMap():
                return item, list(self._check_trust_domain(item))
            case _:
                return item, []

    def _check_trust_domain(self, config_map: ConfigMap) -> Iterator[Finding]:
        place = (config_map.metadata.namespace, config_map.metadata.name)
        if place != (self.rules.root_namespace, NAME):
            return
        asked = mesh_config_of(config_map)
        if fault := self.rules.naming_fault(asked.trust_domain, asked.trust_domain_aliases):
            yield Finding("HBK0503", ("data", KEY), *fault)

    def _shape_service(self, service: Service, present: Service | None) -> tuple[ApiObject, list[Finding]]:
        try:
            return self.allocation.place(service, present), []
        except AddressFixed as fixed:
            return service, [Finding("HBK0503", ("spec", "clusterIP"), str(fixed))]
        except AddressRefused as refused:
            return service, [Finding("HBK0507", ("spec", "clusterIP"), str(refused))]

    def _shape_pod(self, pod: Pod, present: Pod | None) -> tuple[ApiObject, list[Finding]]:
        findings = list(self._check_node(("spec",), pod.spec))
        shaped = pod.model_copy(update={"spec": pod.spec.placed(self.rules.node, self.rules.joined())})
        if present is not None and shaped.spec != present.spec:
            remedy = "delete the pod and create it anew, or use a Deployment, which replaces its pods by itself"
            findings.append(Finding("HBK0503", ("spec",), "what a pod runs is fixed when it is created", remedy))
        return shaped, findings

    def _check_node(self, at: Location, spec: PodSpec) -> Iterator[Finding]:
        wanted, others = spec.wanted_node, sorted(self.rules.joined())
        if wanted in ("", self.rules.node, *others):
            return
        there = f"beside it only {', '.join(others)} may run pods" if others else "there is no other"
        message = f"this machine is called {self.rules.node}, and {there}: the pod runs here"
        yield Finding("HBK0202", (*at, "nodeName" if spec.node_name else "nodeSelector"), message)


def _carried(item: ApiObject, present: ApiObject | None) -> ApiObject:
    """The object with what it keeps of its former self."""
    kept: dict[str, object] = {"deletion_timestamp": None}
    if present is not None and not item.metadata.owner_references:
        kept["owner_references"] = present.metadata.owner_references
    update: dict[str, object] = {"metadata": item.metadata.model_copy(update=kept)}
    if "status" in type(item).model_fields:
        field = type(item).model_fields["status"]
        update["status"] = field.get_default() if present is None else getattr(present, "status")  # noqa: B009 - not every kind has one
    return item.model_copy(update=update)


def _shape_deployment(deployment: Deployment, present: Deployment | None) -> tuple[ApiObject, list[Finding]]:
    if present is None:
        return deployment, []
    if deployment.spec.selector != present.spec.selector:
        return deployment, [Finding("HBK0503", ("spec", "selector"), "the selector of a Deployment is fixed", _TOGETHER)]
    spec = deployment.spec
    if "replicas" not in spec.model_fields_set:
        spec = spec.model_copy(update={"replicas": present.spec.replicas})
    metadata = spec.template.metadata
    restarted = present.spec.template.metadata.annotations.get(RESTARTED)
    if restarted is not None and RESTARTED not in metadata.annotations:
        metadata = metadata.model_copy(update={"annotations": {**metadata.annotations, RESTARTED: restarted}})
        spec = spec.model_copy(update={"template": spec.template.model_copy(update={"metadata": metadata})})
    return deployment.model_copy(update={"spec": spec}), []
