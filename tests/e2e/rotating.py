"""What tests of certificates that change ask, and do to a mesh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e import processes
from tests.e2e.waits import until

from hauberk.kit.clock import parse_timestamp
from hauberk.testing.mesh import Mesh


def proxies(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """What the agent says of each pod's sidecar."""
    return {f"{each['namespace']}/{each['pod']}": each for each in mesh.agent("GET", "/v1/status")["proxies"]}


def all_well(mesh: Mesh) -> bool:
    """Every pod's sidecar serves and has nothing to complain of."""
    return all(each["ready"] and not each["problem"] for each in proxies(mesh).values())


def ends(mesh: Mesh) -> list[float]:
    """When each pod's certificate ends."""
    return [parse_timestamp(each["certificate"]["notAfter"]).timestamp() for each in proxies(mesh).values()]


def serials(mesh: Mesh) -> dict[str, str]:
    """Each pod's certificate."""
    return {pod: each["certificate"]["serial"] for pod, each in proxies(mesh).items()}


@contextmanager
def without_control_plane(mesh: Mesh) -> Iterator[None]:
    """Nobody answers at the control plane's sockets for the time of the block, as if it had ended and did not come back."""
    names = [path for path in (mesh.places.api_socket, mesh.places.xds_socket, mesh.places.citadel_socket) if path.exists()]
    with processes.halted(mesh, "control-plane"):
        for path in names:
            path.rename(path.with_suffix(".away"))
        try:
            yield
        finally:
            for path in names:
                path.with_suffix(".away").rename(path)


def killed_again(mesh: Mesh, part: str) -> None:
    """The part was killed as by kill -9, and another one runs."""
    killed = processes.kill(mesh, part)
    until(lambda: processes.find(mesh, part) != killed, f"another {part}")


def exchange_root(mesh: Mesh) -> str:
    """The exchange of the root has begun; the id of the new one."""
    return str(mesh.api("POST", "/v1/ca/rotate", {"root": True})["new"])


def stage(mesh: Mesh) -> str:
    """How far the exchange of the root has come."""
    return str(mesh.api("GET", "/v1/ca/rotation")["stage"])


def exchanged(mesh: Mesh) -> bool:
    """The exchange is over."""
    return stage(mesh) == "done"


def roots(mesh: Mesh) -> list[str]:
    """Ids of all roots that anybody is told to trust."""
    return [each["id"] for each in mesh.api("GET", "/v1/ca")["authorities"] if each["kind"] == "root"]
