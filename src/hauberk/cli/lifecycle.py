"""`hauberk up` and `hauberk down`: a mesh begins and ends, and afterwards the machine is as before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from hauberk.cli import connection, output
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.objects import apply_texts, report_applied
from hauberk.cli.options import DEFAULT_NAMESPACE, WaitSpan, files_option, read_files, wait_option
from hauberk.cli.verbs import verb
from hauberk.kit.places import PlaceUnusable


@contextmanager
def told_failures() -> Iterator[None]:
    """What cannot be done on this machine, as a failure of the command with its exit code."""
    from hauberk.linux.failure import LinuxFailure  # noqa: PLC0415 -- with the rest of what only a start needs
    from hauberk.local import failure  # noqa: PLC0415

    try:
        yield
    except failure.MeshNotRunning as error:
        raise Failure(str(error), "", error.hint, Exit.UNREACHABLE) from error
    except failure.NotReadyInTime as error:
        raise Failure(str(error), "", error.hint, Exit.TIMED_OUT) from error
    except (failure.LocalFailure, LinuxFailure, PlaceUnusable) as error:
        raise Failure(str(error), "", error.hint) from error


def rootless_option(command: Callable[..., object]) -> Callable[..., object]:
    """`--rootless`, and its opposite for whoever wants to be sure."""
    return click.option(
        "--rootless/--no-rootless",
        default=None,
        help="In a user namespace, with no privilege on the machine.  [default: unless you are root]",
    )(command)


@verb(
    "up",
    "hauberk up --detach --wait",
    "hauberk up -f shop.yaml",
    "hauberk up --mesh test --detach --wait=30s",
    "hauberk up --listen 10.0.0.1:7443",
)
@files_option
@click.option("-d", "--detach", is_flag=True, help="Return, and let the mesh run in the background.")
@wait_option("Return, or apply the files, when control plane and agent are ready.  [TIMEOUT: 60s]")
@rootless_option
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Serve agents of other machines there, over mutual TLS.  [default: HAUBERK_LISTEN, else none are served]",
)
def up(*, files: tuple[str, ...], detach: bool, wait: float | None, rootless: bool | None, listen: str | None) -> int:
    """Start the mesh; without --detach it ends with Ctrl-C, and nothing is left behind.

    On a machine that has joined a control plane elsewhere (`hauberk agent --join`), start its agent.
    """
    if listen is not None:
        # Inherited by every process of the mesh; what it says is checked by who listens.
        os.environ["HAUBERK_LISTEN"] = listen
    from hauberk.local import up as start_up  # noqa: PLC0415 -- only here

    texts = read_files(files)
    outcome: list[int] = []

    def on_ready() -> None:
        if texts:
            status, answer = apply_texts(texts, DEFAULT_NAMESPACE, wait=wait)
            outcome.append(report_applied(status, answer, output.Format(), dry_run=False, waited=wait))
        talk(f"the mesh {places.mesh!r} is ready" + ("" if detach else "; Ctrl-C ends it"))

    places = connection.places()
    needs_ready = bool(texts) or wait is not None or not detach
    with told_failures():
        code = start_up.start(
            places, rootless=rootless, detach=detach, wait_seconds=wait, progress=talk, on_ready=on_ready if needs_ready else None
        )
    return code or (outcome[0] if outcome else Exit.DONE)


@verb("down", "hauberk down", "hauberk down --purge", "hauberk down --mesh test")
@click.option("--purge", is_flag=True, help="Also forget the objects, the certificate authority and the records.")
@click.option("--timeout", type=WaitSpan(), default="60s", show_default=True, metavar="T", help="After this, by force.")
def down(*, purge: bool, timeout: float) -> None:
    """End the mesh: its pods, then itself; no process, namespace, link or mount is left behind."""
    from hauberk.local import down as shut_down  # noqa: PLC0415 -- only here

    places = connection.places()
    with told_failures():
        shut_down.stop(places, purge=purge, timeout=timeout)
    talk(f"the mesh {places.mesh!r} has ended" + (" and is forgotten" if purge else ""))
