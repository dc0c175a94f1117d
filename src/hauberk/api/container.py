"""Container: one program of a pod, with its environment, ports, probes and privileges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from hauberk.api.finding import Finding, Location
from hauberk.api.model import ApiModel, Bool, Port, UserId
from hauberk.api.name import label_fault, port_name_fault, variable_fault
from hauberk.api.probe import Lifecycle, Probe, check_lifecycle, check_probe

FIELD_PATHS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"),
)
_KEYED_FIELD_PATH = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]")


class ContainerPort(ApiModel):
    """A port that the program listens on; naming it lets a Service refer to it."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"hostPort", "hostIP"})

    name: str = ""
    container_port: Port
    protocol: Literal["TCP", "UDP"] = "TCP"


class FieldRef(ApiModel):
    """A field of the pod itself, such as status.podIP or metadata.labels['app']."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"apiVersion"})

    field_path: str


class ConfigMapKeyRef(ApiModel):
    """The text under `key` of a ConfigMap in the pod's namespace."""

    name: str
    key: str
    optional: Bool = False


class EnvVarSource(ApiModel):
    """Where a variable's value comes from: exactly one of two."""

    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"secretKeyRef", "resourceFieldRef", "fileKeyRef"})

    field_ref: FieldRef | None = None
    config_map_key_ref: ConfigMapKeyRef | None = None


class EnvVar(ApiModel):
    """One variable; `$(OTHER)` in `value` stands for a variable defined before it."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class Capabilities(ApiModel):
    """Kernel capabilities without CAP_; a program has none but those in `add`."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(ApiModel):
    """The program's user and privileges."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"allowPrivilegeEscalation", "seccompProfile", "procMount"})
    IGNORED: ClassVar[frozenset[str]] = frozenset({"readOnlyRootFilesystem", "seLinuxOptions", "appArmorProfile", "windowsOptions"})
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"privileged"})

    run_as_user: UserId | None = None
    run_as_group: UserId | None = None
    run_as_non_root: Bool | None = None
    capabilities: Capabilities = Capabilities()


class Container(ApiModel):
    """A program: `command` and `args` are run as they are, there is no image to take a default from."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset(
        {
            *("imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"),
            *("stdin", "stdinOnce", "tty"),
        }
    )
    IGNORED: ClassVar[frozenset[str]] = frozenset({"volumeMounts", "volumeDevices", "resources", "resizePolicy"})
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"envFrom", "restartPolicy", "restartPolicyRules"})

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    security_context: SecurityContext = SecurityContext()

    @property
    def argv(self) -> tuple[str, ...]:
        """What is run, before `$(VARIABLE)` is replaced."""
        return self.command + self.args


def check_containers(at: Location, containers: tuple[Container, ...], *, init: bool = False) -> Iterator[Finding]:
    """Mistakes of a list of containers that types alone do not show."""
    for index, container in enumerate(containers):
        yield from _check_container((*at, index), container, init=init)


def _check_container(at: Location, container: Container, *, init: bool) -> Iterator[Finding]:
    if fault := label_fault(container.name):
        yield Finding("HBK0108", (*at, "name"), f"{container.name!r} is no name of a container: it {fault}")
    if container.image:
        yield Finding("HBK0201", (*at, "image"), "the image is not used here: the program comes from this machine")
    if container.working_dir and not container.working_dir.startswith("/"):
        yield Finding("HBK0110", (*at, "workingDir"), "must be an absolute path")
    yield from _check_environment((*at, "env"), container.env)
    yield from _check_ports((*at, "ports"), container.ports)
    yield from _check_probes(at, container, init=init)
    security = container.security_context
    if security.run_as_non_root and security.run_as_user == 0:
        yield Finding("HBK0113", (*at, "securityContext"), "runAsUser 0 contradicts runAsNonRoot")


def _check_probes(at: Location, container: Container, *, init: bool) -> Iterator[Finding]:
    names = frozenset(port.name for port in container.ports if port.name)
    probes = {
        "livenessProbe": container.liveness_probe,
        "readinessProbe": container.readiness_probe,
        "startupProbe": container.startup_probe,
    }
    for name, probe in probes.items():
        if probe is None:
            continue
        if init:
            yield Finding("HBK0113", (*at, name), "an init container has no probes: it is ready when it has ended")
        yield from check_probe((*at, name), probe, may_need_successes=name == "readinessProbe", ports=names)
    yield from check_lifecycle((*at, "lifecycle"), container.lifecycle, names)


def _check_environment(at: Location, variables: tuple[EnvVar, ...]) -> Iterator[Finding]:
    for index, variable in enumerate(variables):
        here: Location = (*at, index)
        if fault := variable_fault(variable.name):
            yield Finding("HBK0108", (*here, "name"), f"{variable.name!r} is no name of a variable: it {fault}")
        if (source := variable.value_from) is None:
            continue
        if variable.value:
            yield Finding("HBK0113", here, "a variable has value or valueFrom, not both")
        if (source.field_ref is None) == (source.config_map_key_ref is None):
            yield Finding("HBK0113", (*here, "valueFrom"), "needs exactly one of fieldRef and configMapKeyRef")
        if source.field_ref and not _is_field_path(source.field_ref.field_path):
            known = ", ".join((*FIELD_PATHS, "metadata.labels['KEY']", "metadata.annotations['KEY']"))
            message = f"{source.field_ref.field_path!r} is no field that a variable can refer to"
            yield Finding("HBK0106", (*here, "valueFrom", "fieldRef", "fieldPath"), message, f"use one of {known}")


def _is_field_path(text: str) -> bool:
    return text in FIELD_PATHS or _KEYED_FIELD_PATH.fullmatch(text) is not None


def _check_ports(at: Location, ports: tuple[ContainerPort, ...]) -> Iterator[Finding]:
    seen: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        if port.name and (fault := port_name_fault(port.name)):
            yield Finding("HBK0108", (*at, index, "name"), f"{port.name!r} is no name of a port: it {fault}")
        if (port.container_port, port.protocol) in seen:
            yield Finding("HBK0112", (*at, index, "containerPort"), f"port {port.container_port}/{port.protocol} is declared twice")
        seen.add((port.container_port, port.protocol))
