"""A container's variables and command line, with every reference in them replaced: pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hauberk.agent.ipam import GATEWAY_4
from hauberk.api.container import Container, EnvVar
from hauberk.api.pod import Pod
from hauberk.linux.process import SOCKETS

_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")
_KEYED: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What programs of this machine take for granted about it. Nothing else of the agent's own environment reaches a program.
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "TZ")

# Where libraries of SPIFFE look for the Workload API (Workload Endpoint, 4).
ENDPOINT_VARIABLE: Final = "SPIFFE_ENDPOINT_SOCKET"
ENDPOINT: Final = f"unix://{SOCKETS}/api.sock"

ConfigMaps = Mapping[str, Mapping[str, str] | None]


class ReferenceBroken(Exception):
    """A variable refers to something that does not exist (yet)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a container's variables may refer to beside its own pod."""

    addresses: tuple[str, ...]
    node: str
    home: str
    inherited: Mapping[str, str] = field(default_factory=dict)
    config_maps: ConfigMaps = field(default_factory=dict)  # by name; None: there is no such ConfigMap


def inherited_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of the agent's environment that programs get, PATH always among it."""
    return {"PATH": DEFAULT_PATH} | {name: environment[name] for name in _INHERITED if name in environment}


def referenced_config_maps(container: Container) -> frozenset[str]:
    """Names of the ConfigMaps that the container's variables refer to."""
    sources = (variable.value_from for variable in container.env if variable.value_from)
    return frozenset(source.config_map_key_ref.name for source in sources if source.config_map_key_ref)


def build_environment(pod: Pod, container: Container, around: Surroundings) -> dict[str, str]:
    """All variables of the container; raises ReferenceBroken."""
    variables = {**around.inherited, "HOME": around.home, "HOSTNAME": host_name(pod), ENDPOINT_VARIABLE: ENDPOINT}
    for variable in container.env:
        value = _value(pod, variable, around, variables)
        if value is not None:
            variables[variable.name] = value
    return variables


def build_argv(container: Container, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The command line with `$(NAME)` replaced."""
    return tuple(expand(text, variables) for text in container.argv)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` is the variable's value, or stays as it is if there is none; `$$` is one dollar."""

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return _REFERENCE.sub(replace, text)


def host_name(pod: Pod) -> str:
    """What the pod's programs take for the machine's name."""
    return pod.spec.hostname or pod.metadata.name.partition(".")[0][:63]


def _value(pod: Pod, variable: EnvVar, around: Surroundings, known: Mapping[str, str]) -> str | None:
    source = variable.value_from
    if source is None:
        return expand(variable.value, known)
    if source.field_ref is not None:
        return _field(pod, source.field_ref.field_path, around)
    reference = source.config_map_key_ref
    if reference is None:
        return None
    content = around.config_maps.get(reference.name)
    if content is not None and reference.key in content:
        return content[reference.key]
    if reference.optional:
        return None
    missing = f"has no key {reference.key!r}" if content is not None else "does not exist"
    raise ReferenceBroken(f"variable {variable.name}: ConfigMap {pod.metadata.namespace}/{reference.name} {missing}")


def _field(pod: Pod, path: str, around: Surroundings) -> str:
    if keyed := _KEYED.fullmatch(path):
        mapping = pod.metadata.labels if keyed[1] == "labels" else pod.metadata.annotations
        return mapping.get(keyed[2], "")
    fields = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": around.node,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": around.addresses[0],
        "status.podIPs": ",".join(around.addresses),
        "status.hostIP": GATEWAY_4,
        "status.hostIPs": GATEWAY_4,
    }
    if path not in fields:
        raise ReferenceBroken(f"{path!r} is not a field of a pod that a variable can take")
    return fields[path]
