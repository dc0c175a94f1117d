"""Objects that are right by themselves and do not fit together: said as warnings, since the other half may come later."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.deployment import Deployment
from hauberk.api.finding import Finding
from hauberk.api.metadata import ApiObject
from hauberk.api.origin import NOWHERE, Origin
from hauberk.api.peer_authentication import PeerAuthentication
from hauberk.api.pod import Pod, PodSpec
from hauberk.api.problem import Problem
from hauberk.api.selector import has_labels
from hauberk.api.service import Service, ServicePort
from hauberk.api.service_account import ServiceAccount
from hauberk.sources.draft import Draft

Label = tuple[str, str, str]  # namespace, key, value


@dataclass(frozen=True, slots=True)
class Carrier:
    """Something that has labels and runs, or will run, programs: a pod, or a Deployment's template."""

    namespace: str
    labels: Mapping[str, str]
    spec: PodSpec


class Carriers:
    """All carriers by label, so that a thousand selectors cost a thousand look-ups."""

    def __init__(self, carriers: Iterable[Carrier]) -> None:
        self._by_label: dict[Label, list[Carrier]] = {}
        for carrier in carriers:
            for key, value in carrier.labels.items():
                self._by_label.setdefault((carrier.namespace, key, value), []).append(carrier)

    def selected(self, namespaces: Iterable[str], labels: Mapping[str, str]) -> list[Carrier]:
        """The carriers in one of the namespaces that have all of the labels, of which there must be one."""
        found: list[Carrier] = []
        for namespace in namespaces:
            candidates = min((self._by_label.get((namespace, *label), []) for label in labels.items()), key=len)
            found.extend(carrier for carrier in candidates if has_labels(carrier.labels, labels))
        return found


@dataclass(frozen=True)
class Coherence:
    """What an object is checked against: the whole mesh as the draft leaves it."""

    draft: Draft
    root_namespace: str

    @cached_property
    def carriers(self) -> Carriers:
        """Whatever a selector can select; only looked at when there is a selector."""
        pods = (Carrier(pod.metadata.namespace, pod.metadata.labels, pod.spec) for pod in self.draft.of(Pod))
        deployments = ((each.metadata.namespace, each.spec.template) for each in self.draft.of(Deployment))
        templates = (Carrier(namespace, template.metadata.labels, template.spec) for namespace, template in deployments)
        return Carriers((*pods, *templates))

    def check(self, item: ApiObject, origin: Origin = NOWHERE) -> tuple[Problem, ...]:
        """What in the object does not fit the others."""
        return tuple(origin.problem(each, str(item.key)) for each in self._findings(item))

    def _findings(self, item: ApiObject) -> Iterator[Finding]:
        match item:
            case Service():
                yield from self._check_service(item)
            case Pod():
                yield from self._check_account(item, item.spec, ("spec",))
            case Deployment():
                yield from self._check_account(item, item.spec.template.spec, ("spec", "template", "spec"))
            case AuthorizationPolicy():
                yield from self._check_selector(item, item.spec.selector.match_labels, self._scope(item))
            case PeerAuthentication():
                # Unlike other policies, one with a selector concerns its own namespace only, the root namespace's too.
                yield from self._check_selector(item, item.spec.selector.match_labels, (item.metadata.namespace,))
                yield from self._check_competitors(item)
            case _:
                return

    def _scope(self, policy: ApiObject) -> tuple[str, ...]:
        if policy.metadata.namespace != self.root_namespace:
            return (policy.metadata.namespace,)
        return tuple(each.metadata.name for each in self.draft.objects("Namespace"))

    def _check_selector(self, policy: ApiObject, labels: Mapping[str, str], namespaces: tuple[str, ...]) -> Iterator[Finding]:
        if labels and not self.carriers.selected(namespaces, labels):
            where = f"namespace {namespaces[0]}" if len(namespaces) == 1 else "the mesh"
            message = f"no pod and no Deployment in {where} has the labels {_told(labels)}"
            yield Finding("HBK0601", ("spec", "selector", "matchLabels"), message)

    def _check_service(self, service: Service) -> Iterator[Finding]:
        labels = service.spec.selector
        if not labels:
            return
        selected = self.carriers.selected((service.metadata.namespace,), labels)
        if not selected:
            message = f"no pod and no Deployment in namespace {service.metadata.namespace} has the labels {_told(labels)}"
            yield Finding("HBK0601", ("spec", "selector"), message)
            return
        for index, port in enumerate(service.spec.ports):
            if not any(_declares(carrier.spec, port) for carrier in selected):
                message = f"no container of the selected pods declares port {port.target_port}{_declared(selected)}"
                yield Finding("HBK0602", ("spec", "ports", index, "targetPort"), message)

    def _check_account(self, item: ApiObject, spec: PodSpec, at: tuple[str, ...]) -> Iterator[Finding]:
        name, namespace = spec.service_account_name, item.metadata.namespace
        if self.draft.find(ServiceAccount, namespace, name) is None:
            yield Finding("HBK0605", (*at, "serviceAccountName"), f"there is no ServiceAccount {name} in namespace {namespace}")

    def _check_competitors(self, policy: PeerAuthentication) -> Iterator[Finding]:
        if policy.spec.selector.match_labels:
            return
        wide = (each for each in self.draft.of(PeerAuthentication, policy.metadata.namespace) if not each.spec.selector.match_labels)
        others = sorted(each.metadata.name for each in wide if each.key != policy.key)
        if others:
            message = f"namespace {policy.metadata.namespace} has another PeerAuthentication without selector: {', '.join(others)}"
            yield Finding("HBK0606", ("metadata", "name"), message)


def _declares(spec: PodSpec, port: ServicePort) -> bool:
    declared = [each for container in (*spec.init_containers, *spec.containers) for each in container.ports]
    if isinstance(port.target_port, str):
        return any(each.name == port.target_port for each in declared)
    # Ports need not be declared to be open: only a pod that declares others is likely to be meant differently.
    return not declared or any(each.container_port == port.target_port for each in declared)


def _declared(carriers: list[Carrier]) -> str:
    ports = (each for carrier in carriers for container in carrier.spec.containers for each in container.ports)
    told = sorted({f"{each.name} ({each.container_port})" if each.name else str(each.container_port) for each in ports})
    return f"; declared are {', '.join(told)}" if told else ""


def _told(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
