"""`hauberk port-forward`: a port of this machine that leads to a pod's program, past its sidecar, as kubectl's does."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass

import click

from hauberk.cli import completion_names, connection, session, target
from hauberk.cli.connection import Mesh
from hauberk.cli.failure import Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import namespace_option
from hauberk.cli.target import Target
from hauberk.cli.verbs import verb

_PIECE = 65536
_WAITING = 128  # connections the kernel keeps until we take them


@dataclass(frozen=True, slots=True)
class Forward:
    """A local port (0: any that is free) and the port it leads to."""

    local: int
    remote: int


def parse_forward(text: str) -> Forward:
    """`8080`, `9000:8080` or `:8080`."""
    local, colon, remote = text.rpartition(":")
    try:
        far = int(remote)
        near = int(local) if local else (0 if colon else far)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not [LOCAL:]REMOTE", param_hint="PORT") from None
    if not 1 <= far <= 65535 or not 0 <= near <= 65535:
        raise click.BadParameter(f"{text!r}: ports go from 1 to 65535", param_hint="PORT")
    return Forward(near, far)


@verb("port-forward", "hauberk port-forward web 8080", "hauberk port-forward svc/web 9000:80", "hauberk port-forward web.shop :8080")
@click.argument("where", metavar="TARGET", shell_complete=completion_names.targets)
@click.argument("ports", nargs=-1, required=True, metavar="[LOCAL:]REMOTE...")
@namespace_option
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
def port_forward(*, where: str, ports: tuple[str, ...], namespace: str, address: str) -> None:
    """A local port that leads into a pod, until Ctrl-C."""
    mesh = connection.mesh()
    aim = target.parse_target(where, namespace)
    forwards = [parse_forward(text) for text in ports]
    pod = target.find_pod(mesh, aim)  # nothing there: say so now, not at the first connection
    listeners = []
    for forward in forwards:
        target.target_port(mesh, aim, pod, forward.remote)
        listener = _listen(address, forward.local)
        listeners.append(threading.Thread(target=_serve, args=(listener, mesh, aim, forward.remote), daemon=True))
        # On stdout, because with `:REMOTE` a script has to read the port here.
        click.echo(f"forwarding {address}:{listener.getsockname()[1]} to {aim} port {forward.remote}")
    for each in listeners:
        each.start()
    threading.Event().wait()


def _listen(address: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=_WAITING, reuse_port=False
        )
    except OSError as error:
        raise Failure(
            f"cannot listen on {address}:{port}", error.strerror or str(error), f"take another local port, for example :{port}"
        ) from error


def _serve(listener: socket.socket, mesh: Mesh, aim: Target, port: int) -> None:
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=_join, args=(accepted, mesh, aim, port), daemon=True).start()


def _join(near: socket.socket, mesh: Mesh, aim: Target, port: int) -> None:
    with near:
        try:
            # Looked up for each connection: the pod of a minute ago may have been replaced.
            pod = target.find_pod(mesh, aim)
            inside = target.target_port(mesh, aim, pod, port)
            far = session.dial(mesh.places, pod["metadata"]["namespace"], pod["metadata"]["name"], inside)
        except Failure as failure:
            for line in failure.lines():
                talk(line)
            return
        with far:
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            _copy(near, far)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One side is gone: so is the connection, and both directions must notice.
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
