"""Entering the mesh's own namespaces, and what every program started there stands on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.linux import mounts, namespaces, users
from hauberk.linux.start import Ground
from hauberk.linux.view import Guard

if TYPE_CHECKING:
    from hauberk.kit.places import Places

_PACKAGE = Path(__file__).parents[1]


def enter_user_namespace() -> None:
    """The calling process is root of a user namespace of the mesh's own, in which only its user exists."""
    users.create_single(os.geteuid(), os.getegid())


def enter_namespaces() -> None:
    """The calling process sees mounts of its own; its next child will be the first of a PID namespace."""
    namespaces.unshare(namespaces.NEWNS | namespaces.NEWPID)


def settle() -> None:
    """To be called by the first process of the PID namespace: mounts are apart from the machine's, /proc shows the mesh only."""
    mounts.make_slave()
    mounts.mount("proc", "/proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)


def survey(places: Places, *, rootless: bool) -> Ground:
    """What holds for every program of this mesh; to be called after `settle`."""
    uids, gids = users.own_map("uid"), users.own_map("gid")
    return Ground(
        rootless=rootless,
        caller_uid=uids[0].outside,
        caller_gid=gids[0].outside,
        uids=uids,
        gids=gids,
        set_groups=users.can_set_groups(),
        guard=Guard(hidden=_hidden(places), protected=_protected()),
        own_pid_namespace=namespaces.open_own("pid"),
    )


def _hidden(places: Places) -> tuple[str, ...]:
    """State and run directories, with those of other meshes beside them where the directory above is ours alone."""
    whole = (path.parent if path.parent.name == "hauberk" else path for path in (places.state, places.run))
    # Without links: one on the way could be made to lead elsewhere later.
    return tuple(str(path.resolve()) for path in whole)


def _protected() -> tuple[str, ...]:
    """Everything the mesh's own processes run or import: a program that could change it would become the mesh."""
    searched = (Path(entry) for entry in sys.path if entry)
    # The package's own folder too: in an editable installation it is found by other means than the search path.
    code = (_PACKAGE, Path(sys.prefix), Path(sys.base_prefix), *searched)
    # Never the root: everything would be in it, and everything read-only.
    resolved = sorted({path.resolve() for path in code if path.exists()} - {Path("/")})
    return tuple(str(path) for path in resolved if not any(other in path.parents for other in resolved))
