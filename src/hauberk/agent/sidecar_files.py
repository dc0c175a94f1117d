"""The files of one pod's sidecar."""

import os
import shutil
from pathlib import Path

from hauberk.agent.relay_cache import RelayCache
from hauberk.kit.places import Places


def cache_path(places: Places, uid: str) -> Path:
    """Where the configuration of that pod's Envoy is kept."""
    return places.agent_state / "xds" / f"{uid}.xds"


def prepare_directory(directory: Path, group: int | None) -> None:
    """The pod's directory exists and is open to its Envoy alone, by its group (and to root)."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if group is not None:
        # The directories above stay closed: the launcher puts Envoy into this one before it becomes another user.
        os.chown(directory, os.geteuid(), group)
        directory.chmod(0o1770)  # Envoy may put its own files there and not take ours away


def remove_files(places: Places, uid: str) -> None:
    """The pod's sockets, records file and cache are gone."""
    shutil.rmtree(places.pod_run(uid), ignore_errors=True)
    RelayCache(cache_path(places, uid)).forget()
