"""Objects that are right by themselves and do not fit together, apart from policies: Services, pods and their accounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hauberk.analysis.carriers import Carrier
from hauberk.analysis.world import Selecting, World
from hauberk.api.finding import Finding, Location
from hauberk.api.metadata import ApiObject
from hauberk.api.pod import PodSpec
from hauberk.api.service import Service, ServicePort


def check_service(service: Service, world: World) -> Iterator[Finding]:
    """A selector that selects nothing, ports that nobody declares."""
    labels, namespace = service.spec.selector, service.metadata.namespace
    if not labels or namespace not in world.populated:
        return
    selected = world.carriers.selected((namespace,), labels)
    if not selected:
        yield Finding("HBK0601", ("spec", "selector"), f"no pod and no Deployment in namespace {namespace} has the labels {told(labels)}")
        return
    for index, port in enumerate(service.spec.ports):
        if not any(_declares(carrier.spec, port) for carrier in selected):
            message = f"no container of the selected pods declares port {port.target_port}{_declared(selected)}"
            yield Finding("HBK0602", ("spec", "ports", index, "targetPort"), message)


def check_account(item: ApiObject, spec: PodSpec, at: Location, world: World) -> Iterator[Finding]:
    """An account that nobody declared."""
    name, namespace = spec.service_account_name, item.metadata.namespace
    implied = not world.whole and name == "default"  # comes with the namespace
    if not implied and (namespace, name) not in world.accounts:
        yield Finding("HBK0605", (*at, "serviceAccountName"), f"there is no ServiceAccount {name} in namespace {namespace}")


def check_selector(policy: Selecting, world: World, *, namespaces: tuple[str, ...] | None = None) -> Iterator[Finding]:
    """A selector that selects nothing, or only what has no sidecar that could act."""
    labels = policy.spec.selector.match_labels
    spaces = world.scope(policy) if namespaces is None else namespaces
    if not any(space in world.populated for space in spaces) and not world.whole:
        return
    selected = world.carriers.selected(spaces, labels) if labels else []
    where = f"namespace {spaces[0]}" if len(spaces) == 1 else "the mesh"
    at: Location = ("spec", "selector", "matchLabels")
    if labels and not selected:
        yield Finding("HBK0601", at, f"no pod and no Deployment in {where} has the labels {told(labels)}")
    elif labels and not any(carrier.workload.meshed for carrier in selected):
        yield Finding("HBK0360", at, f"nothing in {where} with the labels {told(labels)} has a sidecar")


def _declares(spec: PodSpec, port: ServicePort) -> bool:
    declared = [each for container in (*spec.init_containers, *spec.containers) for each in container.ports]
    if isinstance(port.target_port, str):
        return any(each.name == port.target_port for each in declared)
    # Ports need not be declared to be open: only a pod that declares others is likely to be meant differently.
    return not declared or any(each.container_port == port.target_port for each in declared)


def _declared(carriers: list[Carrier]) -> str:
    ports = (each for carrier in carriers for container in carrier.spec.containers for each in container.ports)
    shown = sorted({f"{each.name} ({each.container_port})" if each.name else str(each.container_port) for each in ports})
    return f"; declared are {', '.join(shown)}" if shown else ""


def told(labels: Mapping[str, str]) -> str:
    """Labels as users write them."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
