"""`hauberk control-plane` and `hauberk agent`: the parts of a mesh by themselves, as its init starts them."""

from __future__ import annotations

from pathlib import Path

import click

from hauberk.cli import connection, invocation
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.lifecycle import rootless_option, told_failures
from hauberk.cli.options import wait_option
from hauberk.cli.verbs import verb


@verb("control-plane", "hauberk control-plane", "hauberk control-plane --mesh test")
def control_plane() -> int:
    """The control plane by itself: objects, API, certificates, configuration of every proxy. Ends with Ctrl-C."""
    from hauberk.local import control_plane as service  # noqa: PLC0415 -- a second of imports that only this command needs

    return service.main(["--mesh", invocation.current().mesh])


@verb(
    "agent",
    "hauberk agent --join n2.join --detach --wait",
    "hauberk agent --join n2.join --mesh second",
    "hauberk agent --mesh test",
)
@click.option(
    "--join",
    "join_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Join the mesh of a control plane on another machine, by a file of `hauberk ca token create`, and run this machine's agent.",
)
@click.option("-d", "--detach", is_flag=True, help="With --join: return, and let the agent run in the background.")
@wait_option("With --join: return when the agent is ready.  [TIMEOUT: 60s]")
@rootless_option
def agent(*, join_file: Path | None, detach: bool, wait: float | None, rootless: bool | None) -> int:
    """The agent by itself: pods, sidecars, certificates, names and records of this machine.

    With --join, this machine becomes one of the mesh; later `hauberk up` starts its agent again, and `hauberk down` ends it.
    Without, a mesh's init must be running.
    """
    if join_file is None:
        if detach or wait is not None or rootless is not None:
            raise Failure("--detach, --wait and --rootless are for --join", "", "give a join file, or leave them out", Exit.USAGE)
        from hauberk.local import agent as service  # noqa: PLC0415 - a second of imports that only this command needs

        return service.main(["--mesh", invocation.current().mesh])
    return _join(join_file, detach=detach, wait=wait, rootless=rootless)


def _join(path: Path, *, detach: bool, wait: float | None, rootless: bool | None) -> int:
    from hauberk.local import joining, up  # noqa: PLC0415 - as above
    from hauberk.local.joining_file import JoinFile  # noqa: PLC0415 - as above

    places = connection.places()
    with told_failures():
        membership = joining.join(places, JoinFile.read(path))
        talk(f"this machine is node {membership.node} of {membership.trust_domain}; the token in {path} is used up")
        ready = wait is not None or not detach
        return up.start(
            places,
            rootless=rootless,
            detach=detach,
            wait_seconds=wait,
            progress=talk,
            on_ready=(lambda: talk(f"node {membership.node} is ready")) if ready else None,
        )
