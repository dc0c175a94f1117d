"""A container as the launcher is asked to run it: pure."""

from dataclasses import dataclass
from typing import Final

from hauberk.agent.environment import Surroundings, build_argv, build_environment, host_name
from hauberk.api.container import Container
from hauberk.api.pod import Pod
from hauberk.linux.process import ContainerView, ProcessSpec

PROXY_UID: Final = 1337
SIDECAR: Final = "proxy"
WORKING_DIRECTORY: Final = "hauberk.dev/working-directory"


class NotRunnable(Exception):
    """The pod's own specification forbids running this container; `reason` is the one word for its status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The mesh's machine, as far as programs are concerned."""

    nameservers: tuple[str, ...]
    rootless: bool
    sockets: str  # the directory that holds the pod's Workload API


def part_name(container: str) -> str:
    """The container's name among the parts of its pod, of which the sidecar is called `proxy`; no container's name has a `_`."""
    return f"{container}_" if container == SIDECAR else container


def process_name(uid: str, container: str) -> str:
    """The launcher's name of a container's program."""
    return f"{uid}/{part_name(container)}"


def build_program(pod: Pod, container: Container, around: Surroundings, ground: Ground) -> ProcessSpec:
    """What to run; raises NotRunnable or ReferenceBroken."""
    if not container.argv:
        raise NotRunnable(
            "CommandMissing", f"container {container.name} has no command: there is no image here to take one from; set `command`"
        )
    environment = build_environment(pod, container, around)
    security, defaults = container.security_context, pod.spec.security_context
    uid = _first(security.run_as_user, defaults.run_as_user)
    if _first(security.run_as_non_root, defaults.run_as_non_root) and (uid == 0 or (uid is None and not ground.rootless)):
        raise NotRunnable("RunsAsRoot", f"container {container.name} must not run as root (runAsNonRoot); set `runAsUser`")
    if uid == PROXY_UID and not ground.rootless:
        raise NotRunnable(
            "UserReserved", f"container {container.name} cannot run as user {PROXY_UID}: that is the sidecars' own; set another `runAsUser`"
        )
    return ProcessSpec(
        argv=build_argv(container, environment),
        env=environment,
        cwd=container.working_dir or pod.metadata.annotations.get(WORKING_DIRECTORY, "/"),
        network=pod.metadata.uid,
        uid=uid,
        gid=_first(security.run_as_group, defaults.run_as_group),
        groups=defaults.supplemental_groups,
        capabilities=security.capabilities.add,
        container=ContainerView(
            hostname=host_name(pod),
            resolv_conf=build_resolv_conf(pod.metadata.namespace, ground.nameservers),
            hosts=build_hosts(pod, around.addresses),
            sockets=ground.sockets,
        ),
    )


def build_resolv_conf(namespace: str, nameservers: tuple[str, ...]) -> str:
    """Where names are asked for, and what is appended to short ones."""
    search = f"search {namespace}.svc.cluster.local svc.cluster.local cluster.local"
    return "\n".join((*(f"nameserver {address}" for address in nameservers), search, "options ndots:5", ""))


def build_hosts(pod: Pod, addresses: tuple[str, ...]) -> str:
    """The pod's own names, without a name server."""
    host = host_name(pod)
    subdomain = pod.spec.subdomain
    own = f"{host}.{subdomain}.{pod.metadata.namespace}.svc.cluster.local {host}" if subdomain else host
    lines = ("127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", *(f"{address} {own}" for address in addresses), "")
    return "\n".join(lines)


def _first(own: int | None, inherited: int | None) -> int | None:
    return own if own is not None else inherited
