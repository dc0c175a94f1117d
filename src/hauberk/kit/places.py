"""Where a mesh keeps its files on this machine.

Imported by every command of the CLI, so only cheap modules of the standard library are imported here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

STATE_VARIABLE = "HAUBERK_STATE_DIR"
RUN_VARIABLE = "HAUBERK_RUN_DIR"
LONGEST_SOCKET_PATH = 107  # bytes: sockaddr_un holds 108 with the final NUL
_MESH_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class PlaceUnusable(Exception):
    """A directory of the mesh cannot be used; `hint` tells the operator what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Places:
    """Every path of one mesh; made once per process, because it reads the environment."""

    mesh: str = "default"
    state: Path = field(init=False)
    run: Path = field(init=False)

    def __post_init__(self) -> None:
        if not _MESH_NAME.fullmatch(self.mesh):
            raise PlaceUnusable(
                f"{self.mesh!r} is not a name for a mesh",
                "use at most 40 lower-case letters, digits and '-', beginning and ending with a letter or digit",
            )
        object.__setattr__(self, "state", _state_parent() / self.mesh)
        object.__setattr__(self, "run", _run_parent() / self.mesh)

    @property
    def api_socket(self) -> Path:
        """Control plane, HTTP."""
        return self.run / "api.sock"

    @property
    def xds_socket(self) -> Path:
        """Control plane, gRPC."""
        return self.run / "xds.sock"

    @property
    def citadel_socket(self) -> Path:
        """Control plane, gRPC: certificates, tokens and trust for the machine's agent."""
        return self.run / "citadel.sock"

    @property
    def agent_socket(self) -> Path:
        """Agent, HTTP."""
        return self.run / "agent.sock"

    @property
    def session_socket(self) -> Path:
        """Agent, SEQPACKET: exec and dial."""
        return self.run / "session.sock"

    @property
    def init_socket(self) -> Path:
        """Launcher, SEQPACKET."""
        return self.run / "init.sock"

    def pod_run(self, uid: str) -> Path:
        """The one directory that a pod's Envoy may see; short, because socket paths are limited."""
        return self.run / "pods" / _short(uid)

    def workload_run(self, uid: str) -> Path:
        """The directory of a pod's Workload API, which its programs see under another name."""
        return self.run / "ids" / _short(uid)

    @property
    def workload_socket(self) -> Path:
        """SPIFFE Workload API for processes that are in no pod; beside the run directory, which only this user may enter."""
        return self.run.with_name(f"{self.mesh}.workload.sock")

    @property
    def longest_socket(self) -> int:
        """Bytes of the longest path of a socket of this mesh."""
        return len(os.fsencode(self.pod_run("0" * 32) / "admin.sock"))

    @property
    def objects(self) -> Path:
        return self.state / "objects.db"

    @property
    def records(self) -> Path:
        return self.state / "records.db"

    @property
    def open_connections(self) -> Path:
        """Who has connected to which pod, a journal each: an agent that comes back knows it."""
        return self.state / "connections"

    @property
    def authority(self) -> Path:
        """Root and issuing keys of the certificate authority."""
        return self.state / "ca"

    @property
    def audit(self) -> Path:
        """The audit log: what happened to identities."""
        return self.state / "audit"

    @property
    def issuer_keys(self) -> Path:
        """Public keys of the issuers of end users' tokens, as they were last fetched."""
        return self.state / "jwks.json"

    @property
    def agent_state(self) -> Path:
        return self.state / "agent"

    @property
    def membership(self) -> Path:
        """Which control plane of another machine this one belongs to, and the key that proves it; absent where there is one here."""
        return self.agent_state / "membership.json"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def process_log(self, name: str) -> Path:
        """Log of `init`, `control-plane` or `agent`."""
        return self.logs / f"{name}.log"

    def pod_logs(self, namespace: str, pod: str, uid: str) -> Path:
        """Directory of a pod's container logs and of proxy.log."""
        return self.logs / "pods" / f"{namespace}_{pod}_{_short(uid)}"

    def environment(self) -> dict[str, str]:
        """Variables that make a child process, whatever user it believes to be, find the same places."""
        return {STATE_VARIABLE: str(self.state.parent), RUN_VARIABLE: str(self.run.parent)}

    def create(self) -> None:
        """The state and run directories exist, belong to this user and are closed to others."""
        if self.longest_socket > LONGEST_SOCKET_PATH:
            raise PlaceUnusable(f"{self.run} is too long a path for Unix sockets", f"set {RUN_VARIABLE} to a shorter path")
        _create_private(self.state, STATE_VARIABLE)
        _create_private(self.run, RUN_VARIABLE)


def _short(uid: str) -> str:
    """So much of a uid that two pods never share it: 64 bits, all but four of them random."""
    return uid.replace("-", "")[:16]


def _state_parent() -> Path:
    if given := os.environ.get(STATE_VARIABLE):
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/hauberk")
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "hauberk"


def _run_parent() -> Path:
    if given := os.environ.get(RUN_VARIABLE):
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/run/hauberk")
    # Not every login has a runtime directory (su, cron, CI); the name in /tmp carries the uid, and create() checks its owner.
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/hauberk-{os.getuid()}") / "hauberk"  # noqa: S108 - owner is checked


def _create_private(path: Path, variable: str) -> None:
    try:
        parent = path.parent
        parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Whoever owns a directory above ours could rename ours and put another in its place: in /tmp that may be anybody.
        for directory in (parent.parent, parent, path):
            directory.mkdir(mode=0o700, exist_ok=True)
            owners = {os.geteuid()} if directory is path else {os.geteuid(), 0, *_unmapped_owner()}
            if directory.lstat().st_uid not in owners or (directory is path and path.is_symlink()):
                raise PlaceUnusable(f"{directory} belongs to another user", f"remove it, or set {variable} to a directory of your own")
        path.chmod(0o700)
    except OSError as error:
        raise PlaceUnusable(
            f"cannot create {path}: {error.strerror or error}", f"set {variable} to a directory that this user can write"
        ) from error


def _unmapped_owner() -> set[int]:
    """In a user namespace root's directories appear to belong to nobody; they were checked before it was entered."""
    return set() if Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"] else {65534}
