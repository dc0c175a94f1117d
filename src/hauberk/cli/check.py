"""`hauberk check`: can this machine run a mesh? Each obstacle with its remedy."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from hauberk.cli import connection, lifecycle, output, table
from hauberk.cli.failure import Exit
from hauberk.cli.output import Format, output_option
from hauberk.cli.table import bad, good, middling
from hauberk.cli.verbs import verb
from hauberk.kit.places import LONGEST_SOCKET_PATH, Places
from hauberk.local import prerequisites
from hauberk.local.failure import LocalFailure

_FILES = 4096  # descriptors: an Envoy or the agent holds a few for each pod and each connection
_MEMORY = 1024  # MB: the mesh itself and a handful of pods
_SPACE, _LEAST_SPACE = 1024, 64  # MB: a full ring of records and some logs; what a mesh needs to start and to say what it lacks
_WATCHES = 8  # inotify instances: the agent holds one
_TRIAL_SECONDS = 30.0
_REMEDIES = {
    "user namespace": "allow them: `sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000`; "
    "on Ubuntu also `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; or run the mesh as root",
    "process and mount namespaces": "in a container: run it with --privileged; or use the other mode (--rootless, or root)",
    "private mounts": "in a container: run it with --privileged, or with --security-opt unmask=ALL; elsewhere use Linux 5.12 or newer",
    "network namespace": "raise `sysctl user.max_net_namespaces`; in a container: run it with --privileged",
    "bridge and virtual links": "load the kernel modules: `modprobe -a bridge veth`",
    "interception by nftables": "load the kernel modules: `modprobe -a nf_tables nft_chain_nat nft_redir nft_ct`",
    "ending connections": "load the kernel modules: `modprobe -a inet_diag tcp_diag` (CONFIG_INET_DIAG_DESTROY); without them a revocation "
    "still refuses the next request and every new connection, and an open connection of bytes ends when its certificate would have",
    "IPv6": "nothing, unless you need it: then boot without ipv6.disable=1",
}
_OPTIONAL = {"ending connections", "IPv6"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `state` is good, poor (it will do) or bad (it will not)."""

    name: str
    state: str
    seen: str
    remedy: str = ""


@verb("check", "hauberk check", "hauberk check --rootless", "hauberk check -o json")
@lifecycle.rootless_option
@output_option("table", "json", "yaml")
def check(*, rootless: bool | None, form: Format) -> int:
    """Can this machine run a mesh? Kernel, namespaces, netfilter, limits, Envoy, places: each obstacle with its remedy."""
    mode = os.geteuid() != 0 if rootless is None else rootless
    findings = [*machine(), *files(), *envoy(), *places(connection.places()), *trial(rootless=mode)]
    able = not any(each.state == "bad" for each in findings)
    if form.is_table:
        signs = {"good": good("ok"), "poor": middling("poor"), "bad": bad("FAILED")}
        rows: list[table.Row] = [(signs[each.state], each.name, each.seen) for each in findings]
        output.show_rows(("RESULT", "CHECK", "SEEN"), rows)
        for each in findings:
            if each.remedy:
                click.echo(f"\n{each.name}: {each.seen}\n   do: {each.remedy}")
        click.echo(f"\nthis machine can{'' if able else 'not'} run a mesh {'without root' if mode else 'as root'}")
    else:
        output.show_document({"able": able, "rootless": mode, "checks": [asdict(each) for each in findings]}, form)
    return Exit.DONE if able else Exit.FAILED


def machine() -> Iterator[Finding]:
    """Kernel, processor, memory, limits."""
    wanted = ".".join(map(str, prerequisites.OLDEST_KERNEL))
    recent = prerequisites.kernel_release() >= prerequisites.OLDEST_KERNEL
    yield Finding("kernel", "good" if recent else "bad", f"Linux {platform.release()}", "" if recent else f"use Linux {wanted} or newer")
    known = platform.machine() in ("x86_64", "aarch64")
    yield Finding("processor", "good" if known else "bad", platform.machine(), "" if known else "Envoy is built for x86_64 and aarch64")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= _FILES
    remedy = "" if enough else f"raise the hard limit: `ulimit -Hn {_FILES}`, or LimitNOFILE= of the service"
    yield Finding("open files", "good" if enough else "poor", f"{soft} of at most {hard}", remedy)
    megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    yield Finding("memory", "good" if megabytes >= _MEMORY else "poor", f"{megabytes} MB")
    yield Finding("control groups", "good", "not needed")
    # Nothing of a mesh listens on the machine itself: every port is in a namespace of the mesh's own.
    yield Finding("ports", "good", "none of this machine's is needed")


def files() -> Iterator[Finding]:
    """What the system has of open files and watches, and the files that pods get versions of their own of."""
    used, _, most = _words("/proc/sys/fs/file-nr", "0 0 0")
    crowded = int(most) - int(used) < _FILES
    remedy = f"raise it: `sysctl -w fs.file-max={int(used) + 16 * _FILES}`" if crowded else ""
    yield Finding("open files of the system", "poor" if crowded else "good", f"{used} of at most {most}", remedy)
    (instances,) = _words("/proc/sys/fs/inotify/max_user_instances", "0")
    few = int(instances) < _WATCHES
    remedy = "records come up to a second later; raise it: `sysctl -w fs.inotify.max_user_instances=128`" if few else ""
    yield Finding("file watches", "poor" if few else "good", f"{instances} inotify instances a user", remedy)
    for path in map(Path, ("/etc/resolv.conf", "/etc/hosts")):
        there = path.is_file()
        remedy = "" if there else f"a pod's own is mounted over it, so it must be there: `touch {os.path.realpath(path)}` as root"
        yield Finding(str(path), "good" if there else "bad", "there" if there else "no such file", remedy)


def _words(path: str, default: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").split()
    except OSError:
        return default.split()


def envoy() -> Iterator[Finding]:
    """The Envoy that pods will run, started once."""
    try:
        path = prerequisites.find_envoy()
        ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False)  # noqa: S603 -- ours
    except LocalFailure as error:
        yield Finding("Envoy", "bad", str(error), error.hint)
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("Envoy", "bad", str(error), f"set {prerequisites.ENVOY_VARIABLE} to an Envoy 1.40 that runs here")
        return
    version = next((word for word in ran.stdout.replace("/", " ").split() if word.count(".") == 2 and word[0].isdigit()), "")
    fits = version.startswith("1.40.")
    remedy = "" if fits else f"set {prerequisites.ENVOY_VARIABLE} to an Envoy 1.40"
    yield Finding("Envoy", "good" if fits else "poor" if version else "bad", f"{version or ran.stderr.strip()[:80]} at {path}", remedy)


def places(where: Places) -> Iterator[Finding]:
    """Where the mesh would keep its state and its sockets."""
    for name, path, variable in (("state directory", where.state, "HAUBERK_STATE_DIR"), ("run directory", where.run, "HAUBERK_RUN_DIR")):
        above = next(each for each in (path, *path.parents) if os.path.exists(each))  # noqa: PTH110 - also where looking is forbidden
        usable = os.access(above, os.W_OK | os.X_OK)
        yield Finding(name, "good" if usable else "bad", str(path), "" if usable else f"{above} is not writable: set {variable}")
    yield space(where.state)
    if where.longest_socket > LONGEST_SOCKET_PATH:
        yield Finding(
            "run directory", "bad", f"{where.longest_socket} bytes long with a socket's name", "set HAUBERK_RUN_DIR to a shorter path"
        )


def space(path: Path) -> Finding:
    """Room on the disk that the state directory is, or would be, on."""
    above = next(each for each in (path, *path.parents) if os.path.exists(each))  # noqa: PTH110 - also where looking is forbidden
    disk = os.statvfs(above)
    free = disk.f_bavail * disk.f_frsize // 2**20
    if disk.f_files and not disk.f_favail:
        return Finding("disk space", "bad", f"no inodes left at {above}", "delete files there, or set HAUBERK_STATE_DIR")
    state = "good" if free >= _SPACE else "poor" if free >= _LEAST_SPACE else "bad"
    remedy = "" if state == "good" else f"make room for {_SPACE} MB, or set HAUBERK_STATE_DIR to a directory on another disk"
    return Finding("disk space", state, f"{free} MB at {above}", remedy)


def trial(*, rootless: bool) -> Iterator[Finding]:
    """Everything a mesh is made of, made once in a process of its own."""
    command = [sys.executable, "-P", "-m", "hauberk.cli.trial", *(["--rootless"] if rootless else [])]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False, cwd="/")  # noqa: S603 -- ours
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    for line in lines:
        name, why = line["name"], line["why"]
        state = "good" if not why else "poor" if name in _OPTIONAL else "bad"
        yield Finding(name, state, why or "works", _REMEDIES.get(name, "") if why else "")
    if not lines:
        yield Finding("trial", "bad", ran.stderr.strip()[-200:] or f"ended with {ran.returncode}", f"run {' '.join(map(str, command))}")
