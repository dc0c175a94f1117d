"""Pod: programs that share one network namespace, one identity and one sidecar."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar, Final, Literal, Self

from pydantic import Field

from hauberk.api.container import Container, check_containers
from hauberk.api.finding import Finding, Location
from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel, Bool, Count, UserId
from hauberk.api.name import label_fault, subdomain_fault
from hauberk.api.pod_status import PodStatus

HOST_LABEL: Final = "kubernetes.io/hostname"


class PodSecurityContext(ApiModel):
    """Defaults for the pod's containers."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"seccompProfile", "supplementalGroupsPolicy"})
    IGNORED: ClassVar[frozenset[str]] = frozenset(
        {*("fsGroup", "fsGroupChangePolicy", "sysctls", "seLinuxOptions", "appArmorProfile", "seLinuxChangePolicy", "windowsOptions")}
    )

    run_as_user: UserId | None = None
    run_as_group: UserId | None = None
    run_as_non_root: Bool | None = None
    supplemental_groups: tuple[UserId, ...] = ()


class PodSpec(ApiModel):
    """What is to run, and on which machine: the control plane's own unless `node_name` or `node_selector` name another."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset(
        {
            *("dnsPolicy", "schedulerName", "enableServiceLinks", "automountServiceAccountToken", "imagePullSecrets", "preemptionPolicy"),
            *("priority", "priorityClassName", "serviceAccount", "os"),
        }
    )
    IGNORED: ClassVar[frozenset[str]] = frozenset(
        {
            *("volumes", "affinity", "topologySpreadConstraints", "activeDeadlineSeconds", "dnsConfig", "hostAliases"),
            *("hostPID", "hostIPC", "hostUsers", "hostnameOverride", "overhead", "readinessGates", "resourceClaims", "runtimeClassName"),
            *("schedulingGates", "setHostnameAsFQDN", "shareProcessNamespace", "tolerations", "resources"),
        }
    )
    # A pod on the machine's own network would be outside the mesh while it looks inside.
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"hostNetwork", "ephemeralContainers"})

    containers: tuple[Container, ...] = Field(min_length=1)
    init_containers: tuple[Container, ...] = ()
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Count = 30
    service_account_name: str = "default"
    node_name: str = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    hostname: str = ""
    subdomain: str = ""
    security_context: PodSecurityContext = PodSecurityContext()

    @property
    def wanted_node(self) -> str:
        """The machine that is named, directly or by the one label that machines have here; empty: none."""
        return self.node_name or self.node_selector.get(HOST_LABEL, "")

    def placed(self, local: str, others: Collection[str]) -> Self:
        """The same on its machine: the one it names if that is `local` or one of `others`, else `local`."""
        wanted = self.wanted_node
        return self.model_copy(update={"node_name": wanted if wanted in others else local})


class Pod(ApiObject):
    """A pod."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Pod"] = "Pod"
    spec: PodSpec
    status: PodStatus = PodStatus()

    def findings(self) -> Iterator[Finding]:
        return check_pod(self)


def check_pod(pod: Pod) -> Iterator[Finding]:
    """Mistakes that types alone do not show."""
    yield from check_pod_spec(("spec",), pod.spec)


def check_pod_spec(at: Location, spec: PodSpec) -> Iterator[Finding]:
    """Mistakes of a pod's spec, wherever it stands."""
    yield from check_containers((*at, "containers"), spec.containers)
    yield from check_containers((*at, "initContainers"), spec.init_containers, init=True)
    yield from _check_unique(at, spec)
    if spec.node_selector.keys() - {HOST_LABEL}:
        yield Finding("HBK0202", (*at, "nodeSelector"), f"machines have no labels here but {HOST_LABEL}: the others have no effect")
    if fault := subdomain_fault(spec.service_account_name):
        yield Finding("HBK0108", (*at, "serviceAccountName"), f"{spec.service_account_name!r} is no name: it {fault}")
    for name, text in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if text and (fault := label_fault(text)):
            yield Finding("HBK0108", (*at, name), f"{text!r} is no DNS label: it {fault}")


def _check_unique(at: Location, spec: PodSpec) -> Iterator[Finding]:
    names: set[str] = set()
    ports: set[str] = set()
    for field, containers in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, container in enumerate(containers):
            if container.name in names:
                yield Finding("HBK0112", (*at, field, index, "name"), f"two containers are called {container.name!r}")
            names.add(container.name)
            for number, port in enumerate(container.ports):
                if port.name and port.name in ports:
                    yield Finding("HBK0112", (*at, field, index, "ports", number, "name"), f"two ports are called {port.name!r}")
                ports.add(port.name)
