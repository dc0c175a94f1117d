"""Building what a container sees of the machine, in the mount namespace made for it.

Everything is mounted by the mesh's own user before the program's user namespace is entered: the kernel then treats all of it as locked,
so the program can neither unmount a mask nor make anything writable again, not even as root of a namespace of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hauberk.linux import mounts
from hauberk.linux.failure import LinuxFailure
from hauberk.linux.process import SOCKETS

if TYPE_CHECKING:
    from hauberk.linux.process import ContainerView

_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
# What uid 0 could change about the machine by plain file permissions, without any capability.
_PROC_READ_ONLY: Final = ("sys", "bus", "fs", "irq", "sysrq-trigger")
# What tells of the machine's memory and keys.
_PROC_MASKED: Final = ("kcore", "keys", "timer_list", "sched_debug", "acpi", "scsi", "kallsyms", "kmsg")
_ALWAYS_WRITABLE: Final = ("/tmp", "/var/tmp")  # noqa: S108 - these are the machine's, shared on purpose
_RUNTIME: Final = "/run"


@dataclass(frozen=True, slots=True)
class Guard:
    """What the mesh keeps from every program of its own accord."""

    hidden: tuple[str, ...]  # keys, sockets, objects
    protected: tuple[str, ...]  # code the mesh itself runs: readable, never writable


def build(view: ContainerView, guard: Guard, *, cwd: str, read_only: bool, user: int) -> None:
    """The calling process, first of its PID namespace and alone in its mount namespace, sees the machine as `view` says.

    `user` is whom the program's files belong to, as the mesh counts.
    """
    mounts.make_private()
    devices = {name: os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC) for name in _DEVICES}
    # Held before everything around it is hidden.
    sockets = os.open(view.sockets, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if view.sockets else None
    # Read before /run is hidden: the file is often a link into it.
    names = {path: os.path.realpath(path) for path in ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname")}
    if read_only:
        _restrict_writing((*_ALWAYS_WRITABLE, cwd, *view.writable))
    _pin((*guard.hidden, *guard.protected), user)
    for path in guard.protected:
        _protect(path)
    _require(guard.hidden)
    _hide((*guard.hidden, *view.hidden))
    _mount_proc(devices["null"])
    _mount_sys()
    _mount_runtime()
    if sockets is not None:
        _show_sockets(sockets)
        os.close(sockets)
    contents = {"/etc/resolv.conf": view.resolv_conf, "/etc/hosts": view.hosts, "/etc/hostname": view.hostname + "\n"}
    _mount_dev(devices, {names[path]: text for path, text in contents.items() if path in _expected(names)})
    for descriptor in devices.values():
        os.close(descriptor)


def _expected(names: dict[str, str]) -> tuple[str, ...]:
    """The files to replace; /etc/hostname only where the machine has one."""
    return tuple(path for path, real in names.items() if path != "/etc/hostname" or Path(real).is_file())


def _restrict_writing(candidates: tuple[str, ...]) -> None:
    """Only the existing directories among `candidates` can be written, and they only where they could be before."""
    writable = [path for path in dict.fromkeys(map(os.path.realpath, candidates)) if _may_stay_writable(path)]
    for path in writable:
        mounts.bind(path, path, recursive=True)
    mounts.set_read_only("/", recursive=True)
    for path in writable:
        mounts.set_writable(path)


def _may_stay_writable(path: str) -> bool:
    # The root as working directory is the default of a program that does not care, not a wish to write everywhere.
    return path != "/" and Path(path).is_dir() and not mounts.is_read_only(path)


def _pin(paths: Iterable[str], user: int) -> None:
    """No directory on the way to `paths` can be renamed by a program of `user`, which the kernel refuses for what is a mount.

    Hidden and protected places are found by their names when the next container or process of the mesh is made: a program that
    could give one another name would find it bare the next time it is started, or put its own in that place.
    """
    pinned = {entry.point for entry in mounts.mounts()}
    for way in ways(paths):
        if way not in pinned and _may_be_renamed(way, user):
            mounts.bind(way, way, recursive=True)


def ways(paths: Iterable[str]) -> tuple[str, ...]:
    """The directories above `paths`, each after those above it; not the root, which nothing can rename."""
    above = {str(parent) for path in paths for parent in Path(path).parents}
    return tuple(sorted(above - {"/"}))


def _may_be_renamed(path: str, user: int) -> bool:
    try:
        above = Path(path).parent.stat()
    except FileNotFoundError:
        return False
    return (above.st_uid == user or bool(above.st_mode & 0o022)) and not mounts.is_read_only(str(Path(path).parent))


def _require(paths: Iterable[str]) -> None:
    for path in paths:
        if not Path(path).is_dir():
            raise LinuxFailure(
                f"{path} is not there, so it cannot be hidden from programs", "end the mesh with `hauberk down`, and start it anew"
            )


def _protect(path: str) -> None:
    real = os.path.realpath(path)
    if real != "/" and Path(real).exists() and not mounts.is_read_only(real):
        mounts.bind(real, real, recursive=True)
        mounts.set_read_only(real, recursive=True)


def _hide(paths: tuple[str, ...]) -> None:
    table = mounts.mounts()
    everywhere = (alias for path in paths for alias in mounts.aliases(os.path.realpath(path), table))
    for path in dict.fromkeys(everywhere):
        if Path(path).is_dir():
            mounts.mount("tmpfs", path, mounts.NOSUID | mounts.NODEV | mounts.NOEXEC, "mode=0555,size=4k,nr_inodes=1")
            mounts.set_read_only(path)
        elif Path(path).exists():
            mounts.bind("/dev/null", path)


def _mount_proc(null: int) -> None:
    mounts.mount("proc", "/proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
    for name in _PROC_READ_ONLY:
        path = f"/proc/{name}"
        if Path(path).exists():
            mounts.bind(path, path)
            mounts.set_read_only(path)
    for name in _PROC_MASKED:
        path = f"/proc/{name}"
        if Path(path).is_dir():
            mounts.mount("tmpfs", path, mounts.NOSUID | mounts.NODEV | mounts.NOEXEC, "mode=0555,size=4k,nr_inodes=1")
            mounts.set_read_only(path)
        elif Path(path).exists():
            mounts.bind(f"/proc/self/fd/{null}", path)


def _mount_sys() -> None:
    """/sys shows the pod's own network devices, and nothing in it can be written."""
    flags = mounts.NOSUID | mounts.NODEV | mounts.NOEXEC
    try:
        mounts.mount("sysfs", "/sys", flags)
    except LinuxFailure:
        # In some containers a user namespace may not mount a new one; the machine's is shown instead.
        if not Path("/sys").is_dir():
            return
    mounts.set_read_only("/sys", recursive=True)


def _mount_runtime() -> None:
    """/run is empty: the sockets in it lead to services that would do on the machine what the container may not."""
    if Path(_RUNTIME).is_dir():
        mounts.mount("tmpfs", _RUNTIME, mounts.NOSUID | mounts.NODEV, "mode=0755,size=16m")


def _show_sockets(directory: int) -> None:
    """A directory of the mesh appears inside the empty /run; its sockets can be connected to, and nothing can be put beside them."""
    target = Path(SOCKETS)
    target.mkdir(mode=0o755, parents=True)
    mounts.bind(f"/proc/self/fd/{directory}", str(target))
    mounts.set_read_only(str(target))


def _mount_dev(devices: dict[str, int], files: dict[str, str]) -> None:
    mounts.mount("tmpfs", "/dev", mounts.NOSUID, "mode=0755,size=1m")
    for name, descriptor in devices.items():
        Path(f"/dev/{name}").touch()
        mounts.bind(f"/proc/self/fd/{descriptor}", f"/dev/{name}")
    for name, target in _DEVICE_LINKS:
        Path(f"/dev/{name}").symlink_to(target)
    Path("/dev/pts").mkdir(mode=0o755)
    mounts.mount("devpts", "/dev/pts", mounts.NOSUID | mounts.NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    Path("/dev/shm").mkdir(mode=0o1777)  # noqa: S108 - the container's own
    mounts.mount("tmpfs", "/dev/shm", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC, "mode=1777")  # noqa: S108
    for target, text in files.items():
        _replace_file(target, text)
    mounts.set_read_only("/dev")


def _replace_file(target: str, text: str) -> None:
    """The file `target` reads as `text` and cannot be changed."""
    if not Path(target).exists():
        _create_inside_runtime(target)
    # The new /dev is the one place that is ours, writable and soon closed; the bind keeps the file when its name is gone.
    source = Path("/dev/.file")
    source.write_text(text)
    source.chmod(0o644)
    mounts.bind(str(source), target)
    mounts.set_read_only(target)
    source.unlink()


def _create_inside_runtime(target: str) -> None:
    if not target.startswith(_RUNTIME + "/"):
        raise LinuxFailure(f"{target} does not exist, so a pod cannot have its own", f"create an empty one: `touch {target}`")
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).touch()
