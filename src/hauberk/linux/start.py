"""Starting one program: the steps between fork and exec, each of which is named if it fails."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import stat
import termios
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hauberk.linux import capabilities, control, namespaces, users, view
from hauberk.linux.failure import LinuxFailure, ProgramNotStarted

if TYPE_CHECKING:
    from hauberk.linux.process import ProcessSpec

_FIRST_FREE = 10  # descriptors from here on are out of the way of stdin, stdout and stderr
_EXIT_NOT_STARTED = 127
_REPORT_BYTES = 16384
_TOLD_CHARACTERS = 800  # of each text in a report: even with every character escaped, all of them fit into it
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the launcher knows and every program it starts stands on."""

    rootless: bool
    caller_uid: int  # who started the mesh, as the machine counts
    caller_gid: int
    uids: users.IdMap  # the launcher's own maps
    gids: users.IdMap
    set_groups: bool
    guard: view.Guard
    own_pid_namespace: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Descriptors a new program comes in by."""

    stdio: tuple[int, int, int]
    network: int | None = None  # a network namespace to run in
    container: int | None = None  # pidfd of the first process of a container to join


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A specification with everything decided that depends on the mesh's mode."""

    spec: ProcessSpec
    user: users.User
    kept: frozenset[int]
    nested: tuple[users.IdMap, users.IdMap] | None  # maps of a user namespace of its own
    read_only: bool
    own_rights: bool  # the program enters its working directory as its own user, not as the mesh


def plan(spec: ProcessSpec, ground: Ground) -> Plan:
    """How `spec` is carried out on `ground`; UnknownCapability if it names one that does not exist."""
    kept = capabilities.parse(spec.capabilities)
    groups = spec.groups if ground.set_groups else None
    if ground.rootless and spec.container is None:
        # Only one user exists here: the mesh's own.
        return Plan(spec=spec, user=users.User(0, 0, groups), kept=kept, nested=None, read_only=False, own_rights=False)
    uid = spec.uid if spec.uid is not None else (ground.caller_uid if ground.rootless else 0)
    gid = spec.gid if spec.gid is not None else (ground.caller_gid if ground.rootless else uid)
    user = users.User(uid, gid, groups)
    nested: tuple[users.IdMap, users.IdMap] | None = None
    if ground.rootless:
        # Whatever the program believes to be, it is the one user there is, without privilege over the mesh's namespaces.
        nested = ((users.Extent(uid, 0, 1),), (users.Extent(gid, 0, 1),))
    elif spec.container is not None and not kept:
        # A capability that was asked for must count in the pod's network; without one, a namespace of its own makes root nobody.
        nested = (users.identity(ground.uids), users.identity(ground.gids))
    contained = spec.container is not None
    # As the machine counts: rootless, every program is the user who started the mesh, and that may be root as well.
    is_root = (ground.caller_uid if ground.rootless else uid) == 0
    return Plan(spec=spec, user=user, kept=kept, nested=nested, read_only=contained and is_root, own_rights=contained)


def plan_to_join(spec: ProcessSpec, target: Plan) -> Plan:
    """How `spec` runs beside the container's program of `target`: as the same user, with as little."""
    beside = replace(
        spec, cwd=spec.cwd or target.spec.cwd, no_new_privs=target.spec.no_new_privs, network=target.spec.network, container=None
    )
    return replace(target, spec=beside)


def fork_program(plan: Plan, ground: Ground, doors: Doors) -> tuple[int, int, int]:
    """Pid and pidfd of a new process that is on its way to run the program, and a descriptor that tells how it went.

    The descriptor reads as end of file once the program runs, or else as a failure for `read_report`.
    """
    report, tell = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _fork(plan, ground, doors, tell)
        return pid, control.open_process(pid), report
    except BaseException:
        os.close(report)
        raise
    finally:
        os.close(tell)


def _fork(plan: Plan, ground: Ground, doors: Doors, tell: int) -> int:
    if doors.container is not None:
        namespaces.enter(doors.container, namespaces.NEWPID)
    elif plan.spec.container is not None:
        namespaces.unshare(namespaces.NEWPID)
    try:
        pid = os.fork()
        if pid == 0:
            _run(plan, ground, doors, tell)
    finally:
        # Whatever happened: the launcher's next child must not land in this program's namespace.
        namespaces.enter(ground.own_pid_namespace, namespaces.NEWPID)
    return pid


def read_report(report: int) -> ProgramNotStarted | None:
    """Why the program does not run, or None if it does; to be called when `report` is readable. Closes it."""
    with os.fdopen(report, "rb") as stream:
        text = stream.read(_REPORT_BYTES)
    return ProgramNotStarted(**json.loads(text)) if text else None


def _run(plan: Plan, ground: Ground, doors: Doors, tell: int) -> NoReturn:
    """The child's whole life before its program: never returns, never lets an exception out."""
    stage = ["start"]
    try:
        _prepare(plan, ground, doors, stage)
        stage[0] = "exec"
        _execute(plan.spec)
    except BaseException as error:  # this process must not go on as a second launcher
        _tell(tell, plan.spec, stage[0], error)
    finally:
        os._exit(_EXIT_NOT_STARTED)


def _prepare(plan: Plan, ground: Ground, doors: Doors, stage: list[str]) -> None:
    os.setsid()
    control.default_signals()
    _take_stdio(doors.stdio, tty=plan.spec.tty)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stage[0] = "namespaces"
    _enter(plan, doors)
    if plan.spec.container is not None:
        _contain(plan, ground, stage)
    stage[0] = "limits"
    _limit(plan.spec)
    stage[0] = "user"
    if plan.nested is not None and doors.container is None:
        users.create_nested(*plan.nested)
        users.forbid_namespaces(proc)
    os.close(proc)
    _become_there(plan, stage)


def _become_there(plan: Plan, stage: list[str]) -> None:
    """This process is the program's user, in the program's working directory."""
    # A program of a pod must be able to enter its directory by itself; a process of the mesh is put into its own, which may lie
    # below directories that only the mesh may enter: that is how an Envoy reaches its sockets and nobody else's.
    if not plan.own_rights:
        _change_directory(plan, stage)
    stage[0] = "user"
    users.become(plan.user, plan.kept, no_new_privs=plan.spec.no_new_privs)
    if plan.own_rights:
        _change_directory(plan, stage)


def _change_directory(plan: Plan, stage: list[str]) -> None:
    stage[0] = "cwd"
    os.chdir(plan.spec.cwd or "/")


def _enter(plan: Plan, doors: Doors) -> None:
    if doors.container is not None:
        # Until its exec this process still holds the launcher's descriptors: nobody in the container may look into it.
        control.forbid_inspection()
        kinds = namespaces.NEWNS | namespaces.NEWUTS | namespaces.NEWIPC
        # Only what the container has of its own: nobody may enter again what it shares with the launcher.
        kinds |= namespaces.NEWUSER if plan.nested else 0
        kinds |= namespaces.NEWNET if plan.spec.network is not None else 0
        namespaces.enter(doors.container, kinds)
    elif doors.network is not None:
        namespaces.enter(doors.network, namespaces.NEWNET)


def _contain(plan: Plan, ground: Ground, stage: list[str]) -> None:
    assert plan.spec.container is not None
    namespaces.unshare(namespaces.NEWNS | namespaces.NEWUTS | namespaces.NEWIPC)
    namespaces.set_hostname(plan.spec.container.hostname)
    stage[0] = "view"
    user = 0 if ground.rootless else plan.user.uid  # rootless, whatever number it has, it is the one user there is
    view.build(plan.spec.container, ground.guard, cwd=plan.spec.cwd, read_only=plan.read_only, user=user)


def _take_stdio(stdio: tuple[int, int, int], *, tty: bool) -> None:
    # First away from 0 to 2: one of them may be the very place another has to go.
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for descriptor in stdio]
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, place, inheritable=True)
        os.close(descriptor)
    if tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _limit(spec: ProcessSpec) -> None:
    os.umask(spec.umask)
    for name, soft, hard in spec.rlimits:
        number: int = getattr(resource, f"RLIMIT_{name.upper().removeprefix('RLIMIT_')}")
        resource.setrlimit(number, (soft, hard))


def _execute(spec: ProcessSpec) -> NoReturn:
    environment = dict(spec.env)
    if spec.executable is not None:
        os.execve(spec.executable, spec.argv, environment)  # noqa: S606 - there is no shell, on purpose
    program = spec.argv[0]
    if "/" in program:
        os.execve(program, spec.argv, environment)  # noqa: S606
    denied: OSError | None = None
    for directory in environment.get("PATH", _DEFAULT_PATH).split(":"):
        path = str(Path(directory or ".") / program)
        try:
            os.execve(path, spec.argv, environment)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            # As a shell does: go on looking, but say in the end that there was one that may not be run.
            denied = error if _is_file(path) else denied
    raise denied or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - may be forbidden as well
    except OSError:
        return False


def _tell(tell: int, spec: ProcessSpec, stage: str, error: BaseException) -> None:
    code = error.code if isinstance(error, LinuxFailure) else getattr(error, "errno", None) or 0
    report = {
        "program": spec.argv[0][:_TOLD_CHARACTERS] if spec.argv else "",
        "stage": stage,
        "code": code,
        "detail": _detail(spec, stage, error)[:_TOLD_CHARACTERS],
        "hint": _hint(spec, stage, code, error)[:_TOLD_CHARACTERS],
    }
    os.write(tell, json.dumps(report).encode())


def _script_without_interpreter(spec: ProcessSpec, error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) and spec.executable is None and "/" in spec.argv[0] and _is_file(spec.argv[0])


def _detail(spec: ProcessSpec, stage: str, error: BaseException) -> str:
    match stage:
        case "exec" if _script_without_interpreter(spec, error):
            return "the interpreter its first line names"
        case "exec":
            return ""
        case "cwd":
            return f"working directory {spec.cwd}"
        case _:
            text = str(error) or type(error).__name__
            return text.rpartition(": ")[0] if isinstance(error, LinuxFailure) and error.code else text


def _hint(spec: ProcessSpec, stage: str, code: int, error: BaseException) -> str:
    match stage, code:
        case "exec", errno.ENOENT:
            return "name a program that exists on this machine, by path or as found in PATH"
        case "exec", errno.EACCES:
            return "make the file executable, and its directories searchable, for the program's user"
        case "exec", errno.ENOEXEC:
            return "the file is no program of this machine; a script needs a first line like #!/bin/sh"
        case "cwd", _:
            return f"create {spec.cwd}, or let the program's user enter it"
        case _:
            return getattr(error, "hint", "")
