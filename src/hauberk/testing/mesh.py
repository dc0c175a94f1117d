"""`Mesh`: a whole mesh that belongs to a test run, with state and sockets of its own."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hauberk.kit.environment import environment
from hauberk.kit.places import RUN_VARIABLE, STATE_VARIABLE, Places
from hauberk.kit.unix_http import UnixHttp
from hauberk.local import up
from hauberk.testing.answer import MeshFailed
from hauberk.testing.namespace import MeshNamespace

START_SECONDS = 60.0  # until a mesh that does not come up is given up
MERGE_PATCH = {"content-type": "application/merge-patch+json"}


class Mesh:
    """A running mesh, as a user's own: the same processes, objects and sidecars."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def namespace(self, name: str) -> MeshNamespace:
        """The namespace `name`, created if there was none; what a test does happens in one."""
        self.api("POST", "/v1/apply", _apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        return MeshNamespace(self, name)

    def api(self, method: str, path: str, body: Any = None, *, timeout: float = 60.0) -> Any:
        """The control plane's answer; MeshFailed with its problems if it refuses."""
        headers = MERGE_PATCH if method == "PATCH" else None
        return _accepted(*UnixHttp(self.places.api_socket).request(method, path, json=body, timeout=timeout, headers=headers))

    def agent(self, method: str, path: str, *, timeout: float = 60.0) -> Any:
        """The agent's answer."""
        return _accepted(*UnixHttp(self.places.agent_socket).request(method, path, timeout=timeout))


@contextmanager
def running_mesh(name: str = "test", *, rootless: bool | None = None, settings: Mapping[str, str] | None = None) -> Iterator[Mesh]:
    """A fresh mesh for the time of the block; nothing of it remains, also when this process is killed.

    `rootless` None decides as `hauberk up` does; `settings` are variables for the mesh's processes, such as
    HAUBERK_CERTIFICATE_LIFETIME=5s.
    """
    # Short, because the paths of Unix sockets are; closed to others but for the way to the Envoys' own directories.
    directory = Path(tempfile.mkdtemp(prefix="hb-"))
    directory.chmod(0o711)
    chosen = {**(settings or {}), STATE_VARIABLE: str(directory / "state"), RUN_VARIABLE: str(directory / "run")}
    try:
        # Kept for the time of the mesh: commands that a test runs with `subprocess` then find this mesh and no other.
        with environment(chosen):
            places = Places(name)
            with up.running(places, rootless=rootless, wait_seconds=START_SECONDS):
                yield Mesh(places)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _apply(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"files": [{"name": "<test>", "text": json.dumps(document)}]}


def _accepted(status: int, answer: Any) -> Any:
    if status >= 400:
        raise MeshFailed(f"HTTP status {status}: {answer}")
    return answer
