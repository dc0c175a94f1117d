"""Run as a process of its own by `hauberk check`: makes, once, everything a mesh is made of, and says how each went.

A trial answers what no list of settings can: whether this kernel, this container, this user may do it. Everything ends with the process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from hauberk.linux import mounts, namespaces, socket_destroy, users


def main() -> None:
    """Print one JSON line for each step; the first that fails ends the trial, because the next ones stand on it."""
    rootless = "--rootless" in sys.argv
    steps: list[tuple[str, Callable[[], object]]] = []
    if rootless:
        steps.append(("user namespace", lambda: users.create_single(os.geteuid(), os.getegid())))
    steps += [
        ("process and mount namespaces", lambda: namespaces.unshare(namespaces.NEWNS | namespaces.NEWPID)),
        ("private mounts", _mounts),
        ("network namespace", lambda: namespaces.unshare(namespaces.NEWNET)),
        ("bridge and virtual links", _links),
        ("interception by nftables", _interception),
    ]
    for name, step in steps:
        try:
            step()
        except Exception as error:
            _say(name, str(error) or type(error).__name__)
            return
        _say(name, "")
    _say("ending connections", "" if socket_destroy.can_destroy() else "the kernel cannot end a connection from outside of its program")
    _say("IPv6", "" if os.path.exists("/proc/sys/net/ipv6") else "the kernel has none: pods get IPv4 addresses only")  # noqa: PTH110


def _say(name: str, why: str) -> None:
    sys.stdout.write(json.dumps({"name": name, "why": why}) + "\n")
    sys.stdout.flush()


def _mounts() -> None:
    """In a child, because only the first child is inside the new PID namespace, and only there may its /proc be mounted."""
    pid = os.fork()
    if pid == 0:
        try:
            # Its own mounts: what it covers may be where this very program lies.
            namespaces.unshare(namespaces.NEWNS)
            mounts.make_slave()
            mounts.mount("proc", "/proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
            mounts.mount("tmpfs", "/tmp", mounts.NOSUID | mounts.NODEV)  # noqa: S108 -- covered, in a namespace that ends at once
            mounts.set_read_only("/tmp")  # noqa: S108
        except Exception as error:
            os.write(2, str(error).encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise OSError("the machine does not let us mount /proc and tmpfs, or lacks mount_setattr")


def _links() -> None:
    from pyroute2 import IPRoute  # type: ignore[import-untyped]  # noqa: PLC0415 -- it ships no types; after the namespace is a new one

    with IPRoute() as route:
        route.link("add", ifname="hauberk0", kind="bridge")
        bridge = route.link_lookup(ifname="hauberk0")[0]
        route.link("add", ifname="hb-a", kind="veth", peer={"ifname": "hb-b"})
        route.link("set", index=route.link_lookup(ifname="hb-a")[0], master=bridge)


def _interception() -> None:
    from hauberk.interception.capture import read_capture  # noqa: PLC0415 -- as above
    from hauberk.interception.install import install  # noqa: PLC0415
    from hauberk.interception.ruleset import build_ruleset  # noqa: PLC0415

    capture, _ = read_capture({})
    install(build_ruleset(capture))


if __name__ == "__main__":
    main()
