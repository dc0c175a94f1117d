"""Whatever a selector can select: pods, and the templates of Deployments, whose pods may come any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from hauberk.api.deployment import Deployment
from hauberk.api.metadata import Metadata, ObjectKey
from hauberk.api.pod import Pod, PodSpec
from hauberk.api.selector import has_labels
from hauberk.mesh.workload import Workload, build_workload

Label = tuple[str, str, str]  # namespace, key, value


@dataclass(frozen=True)
class Carrier:
    """Something that has labels and runs, or will run, programs; `key` is the pod or the Deployment."""

    key: ObjectKey
    pod: Pod

    @property
    def namespace(self) -> str:
        return self.key.namespace

    @property
    def labels(self) -> Mapping[str, str]:
        return self.pod.metadata.labels

    @property
    def spec(self) -> PodSpec:
        return self.pod.spec

    @cached_property
    def workload(self) -> Workload:
        """The workload that it is, or that each of its pods will be."""
        return build_workload(self.pod)

    @cached_property
    def declared(self) -> frozenset[int]:
        """The ports that its containers say they have; none means that nobody said."""
        return frozenset(
            each.container_port for container in (*self.spec.init_containers, *self.spec.containers) for each in container.ports
        )


def carrier_of(deployment: Deployment) -> Carrier:
    """What the pods of the Deployment will be."""
    metadata, made = deployment.metadata, deployment.spec.template
    pod = Metadata(name=metadata.name, namespace=metadata.namespace, labels=made.metadata.labels, annotations=made.metadata.annotations)
    return Carrier(deployment.key, Pod(metadata=pod, spec=made.spec))


class Carriers:
    """All carriers by label, so that a thousand selectors cost a thousand look-ups."""

    def __init__(self, carriers: Iterable[Carrier]) -> None:
        self._by_label: dict[Label, list[Carrier]] = {}
        self._by_namespace: dict[str, list[Carrier]] = {}
        for carrier in carriers:
            self._by_namespace.setdefault(carrier.namespace, []).append(carrier)
            for key, value in carrier.labels.items():
                self._by_label.setdefault((carrier.namespace, key, value), []).append(carrier)

    @property
    def namespaces(self) -> Iterable[str]:
        """Where there are any."""
        return self._by_namespace.keys()

    def selected(self, namespaces: Iterable[str], labels: Mapping[str, str]) -> list[Carrier]:
        """The carriers in one of the namespaces that have all of the labels; without labels all of the namespaces."""
        found: list[Carrier] = []
        for namespace in namespaces:
            if not labels:
                found.extend(self._by_namespace.get(namespace, ()))
                continue
            candidates = min((self._by_label.get((namespace, *label), []) for label in labels.items()), key=len)
            found.extend(carrier for carrier in candidates if has_labels(carrier.labels, labels))
        return found
