"""`hauberk demo`: a mesh of its own with the demo shop, live or verified, and nothing of it afterwards."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hauberk.cli import connection, invocation, lifecycle, output, table
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import WaitSpan
from hauberk.cli.output import Format, output_option
from hauberk.cli.table import bad, good
from hauberk.cli.verbs import verb

if TYPE_CHECKING:
    from hauberk.demo.checks import Outcome
    from hauberk.demo.mesh import DemoMesh
    from hauberk.kit.places import Places

MESH = "demo"
_PATIENCE = 90.0  # seconds until the whole shop is ready, on a slow machine with two cores
_LOOKED_AT = 12.0  # seconds of traffic in a picture


@verb(
    "demo",
    "hauberk demo",
    "hauberk demo --check",
    "hauberk demo --check -o json",
    "hauberk demo --snapshot live.svg --for 20s",
)
@click.option("--check", is_flag=True, help="Verify unattended, print a summary, clean up.")
@lifecycle.rootless_option
@click.option("--no-browser", is_flag=True, help="Open no browser (the terminal is all there is in this version).")
@click.option("--snapshot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Leave a picture of the view.")
@click.option("--for", "seconds", type=WaitSpan(), metavar="T", help="End by itself after this long.")
@output_option("table", "json", "yaml")
def demo(*, check: bool, rootless: bool | None, no_browser: bool, snapshot: Path | None, seconds: float | None, form: Format) -> int:
    """A mesh with the demo shop, live in this terminal until Ctrl-C; nothing is left behind.

    With --check it is verified instead: from inside the pods, on the wire, and on the machine afterwards.
    """
    del no_browser  # accepted from the first version on, so that scripts need not change when there is a page to open
    name = invocation.current().mesh
    places = connection.places(MESH if name == invocation.DEFAULT_MESH else name)
    if check:
        return _check(places, rootless=rootless, form=form)
    with _shop(places, rootless=rootless) as mesh, _until_ended() as ended:
        from hauberk.demo import live  # noqa: PLC0415 -- rich, only where something is drawn

        if snapshot is not None and seconds is None:
            seconds = _LOOKED_AT
        if not sys.stdout.isatty() and seconds is None:
            talk("this is no terminal: nothing to draw on; Ctrl-C ends the demo, `hauberk demo --check` verifies it")
        live.watch(mesh, ended, snapshot, seconds)
    talk("the demo has ended; nothing is left")
    return Exit.DONE


@contextmanager
def _shop(places: Places, *, rootless: bool | None) -> Iterator[DemoMesh]:
    """The mesh with the shop ready in it, gone afterwards with all it kept."""
    from hauberk.demo.mesh import DemoFailed, DemoMesh  # noqa: PLC0415 -- with what only the demo needs
    from hauberk.local import down, up  # noqa: PLC0415

    with lifecycle.told_failures():
        failed = False
        try:
            with up.running(places, rootless=rootless, progress=talk):
                mesh = DemoMesh(places)
                mesh.apply("shop.yaml", "policies.yaml")
                mesh.wait_ready(_PATIENCE, talk)
                yield mesh
        except DemoFailed as error:
            raise Failure(
                "the demo cannot go on", str(error), f"look into {places.logs}; then `hauberk down --mesh {places.mesh} --purge`"
            ) from error
        finally:
            if not failed:
                down.stop(places, purge=True)


@contextmanager
def _until_ended() -> Iterator[Any]:
    """Whether Ctrl-C or a request to end has come: the demo ends in order, wherever it is."""
    asked: list[int] = []

    def note(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt  # asked again: do not wait for anything
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check(places: Places, *, rootless: bool | None, form: Format) -> int:
    from hauberk.demo import remains  # noqa: PLC0415 -- as above

    started = time.monotonic()
    links, mounts = remains.links(), remains.mounts()
    outcomes: list[Outcome] = []
    processes: list[Any] = []
    _check_shop(places, rootless, outcomes, processes)
    outcomes.append(_left(remains.Footprint(links, mounts, frozenset().union(*processes)), places))
    seconds = time.monotonic() - started
    _report(outcomes, seconds, form)
    return Exit.DONE if all(each.passed for each in outcomes) else Exit.FAILED


def _check_shop(places: Places, rootless: bool | None, outcomes: list[Outcome], processes: list[Any]) -> None:
    from hauberk.demo import remains  # noqa: PLC0415 -- as above
    from hauberk.demo.checks import Checks, Outcome, Texts  # noqa: PLC0415
    from hauberk.demo.mesh import DemoFailed, DemoMesh  # noqa: PLC0415
    from hauberk.demo.wire import capturing  # noqa: PLC0415
    from hauberk.local import down, up  # noqa: PLC0415

    texts = Texts.fresh()
    with lifecycle.told_failures():
        with up.running(places, rootless=rootless, progress=talk):
            mesh = DemoMesh(places)
            with capturing(places, [text.encode() for text in (texts.inside, texts.outside)]) as capture:
                began = time.monotonic()
                try:
                    mesh.apply("shop.yaml", "policies.yaml")
                    mesh.wait_ready(_PATIENCE, talk)
                    outcomes.append(Outcome("the shop is ready", True, f"in {time.monotonic() - began:.1f} s"))
                    outcomes.extend(Checks(mesh, capture, texts).run(talk))
                except DemoFailed as error:
                    outcomes.append(Outcome("the shop is ready", False, str(error)))
            processes.append(remains.processes_of(places))
        failed = not all(each.passed for each in outcomes)
        if failed:
            talk(f"the logs of the failed run are kept in {places.logs}")
        else:
            down.stop(places, purge=True)


def _left(footprint: Any, places: Places) -> Outcome:
    from hauberk.demo import remains  # noqa: PLC0415 -- as above
    from hauberk.demo.checks import Outcome  # noqa: PLC0415

    found = remains.remains(footprint, places)
    evidence = "; ".join(found) or f"{len(footprint.processes)} processes ended; links, mounts and sockets as before"
    return Outcome("nothing is left on the machine", not found, evidence)


def _report(outcomes: list[Outcome], seconds: float, form: Format) -> None:
    if not form.is_table:
        checks = [{"name": each.name, "passed": each.passed, "evidence": each.evidence} for each in outcomes]
        passed = all(each.passed for each in outcomes)
        output.show_document({"passed": passed, "seconds": round(seconds, 1), "checks": checks}, form)
        return
    rows: list[table.Row] = [(good("passed") if each.passed else bad("FAILED"), each.name, each.evidence) for each in outcomes]
    output.show_rows(("RESULT", "CHECK", "SEEN"), rows)
    failed = sum(not each.passed for each in outcomes)
    click.echo(f"\n{len(outcomes) - failed} of {len(outcomes)} checks passed in {seconds:.1f} s")
