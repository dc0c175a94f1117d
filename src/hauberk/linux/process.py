"""What the launcher is asked to start and what it knows of it; the words both ends of its socket share.

Imported by the mesh's init process, which must stay small: only cheap modules of the standard library here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """What a program sees of the machine: its own PID, mount, UTS and IPC namespaces, /proc, /dev and names.

    The launcher hides the mesh's state and run directories, /run and whatever lies in `hidden` behind empty directories,
    keeps hauberk's own code and interpreter read-only, and gives a program of the machine's root user a read-only machine but for
    its working directory, /tmp, /var/tmp and `writable`.
    """

    hostname: str
    resolv_conf: str
    hosts: str
    hidden: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    sockets: str = ""  # a directory of the mesh that is seen, and cannot be written, at `SOCKETS`; "" = none


# Where a container finds the sockets that are there for it alone.
SOCKETS = "/run/spiffe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One program, where and as whom it runs.

    `argv[0]` without a slash is looked up in PATH of `env`, inside the container. With `executable` (a file descriptor of the caller)
    that file is run instead, so its directory need not be reachable by the program's user.
    `uid` None is the launcher's own user: root, or in rootless mode whoever started the mesh (a container) and the user namespace's
    root without capabilities (no container). `capabilities` are the ones kept ("NET_ADMIN" or "CAP_NET_ADMIN"); all others are gone.
    `join` names a running container whose namespaces, user and capabilities the program gets; then only argv, env, cwd, tty, umask
    and rlimits of this specification count (cwd "" = the container's own).
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    network: str | None = None  # name of a network of the launcher; None = the machine's own
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()  # ignored in rootless mode, where the kernel forbids changing them
    capabilities: tuple[str, ...] = ()
    no_new_privs: bool = True
    container: ContainerView | None = None
    join: str | None = None
    tty: bool = False  # stdin is a terminal: it becomes the program's controlling terminal
    executable: int | None = None
    umask: int = 0o022
    rlimits: tuple[tuple[str, int, int], ...] = ()  # ("NOFILE", soft, hard); -1 = unlimited


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process the launcher started; `pid` counts in the mesh's own PID namespace, where agent and control plane live too."""

    name: str
    pid: int
    running: bool = True
    wait_status: int | None = None  # as of waitpid(2); os.waitstatus_to_exitcode makes it a code or a negative signal
    started_at: float = 0.0  # seconds since the epoch
    ended_at: float | None = None


def encode_spec(spec: ProcessSpec) -> dict[str, Any]:
    """The JSON form of `spec`; the descriptor of `executable` travels beside it."""
    document = {item.name: getattr(spec, item.name) for item in fields(spec)}
    document["env"] = dict(spec.env)
    document["executable"] = None if spec.executable is None else True
    if spec.container is not None:
        document["container"] = {item.name: getattr(spec.container, item.name) for item in fields(spec.container)}
    return document


def decode_spec(document: dict[str, Any], executable: int | None) -> ProcessSpec:
    """The specification `encode_spec` wrote; `executable` is the descriptor that came with it."""
    values = _frozen(document)
    values["executable"] = executable
    values["rlimits"] = tuple((str(name), int(soft), int(hard)) for name, soft, hard in document.get("rlimits", ()))
    if (view := document.get("container")) is not None:
        values["container"] = ContainerView(**_frozen(view))
    return ProcessSpec(**values)


def encode_process(process: Process) -> dict[str, Any]:
    return {item.name: getattr(process, item.name) for item in fields(process)}


def decode_process(document: dict[str, Any]) -> Process:
    return Process(**document)


def _frozen(document: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}
