"""`hauberk exec`: a command inside a pod, as its program's user; with `-t` on a terminal of its own."""

from __future__ import annotations

import os
import sys

import click

from hauberk.cli import completion_names, connection, session, target
from hauberk.cli.options import namespace_option
from hauberk.cli.verbs import verb


@verb(
    "exec",
    "hauberk exec client -- python3 -c 'import urllib.request as u; print(u.urlopen(\"http://web:8080/\").status)'",
    "hauberk exec -it deploy/web -- sh",
    "hauberk exec web.shop -- env",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option("-i", "--stdin", "interactive", is_flag=True, help="Pass stdin on.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.option("-c", "--container", metavar="NAME", help="Which container.  [default: the first]")
@click.option("-e", "--env", "environment", multiple=True, metavar="K=V", help="A variable for the command; several times.")
@namespace_option
@click.argument("where", metavar="TARGET", shell_complete=completion_names.targets)
@click.argument("command", metavar="-- CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(
    *,
    interactive: bool,
    tty: bool,
    container: str | None,
    environment: tuple[str, ...],
    namespace: str,
    where: str,
    command: tuple[str, ...],
) -> int:
    """Run a command inside a pod; its exit code is the command's own, or 127 or 126 if there is none that can be run."""
    mesh = connection.mesh()
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise click.UsageError("which command? hauberk exec TARGET -- CMD…")
    pod = target.find_pod(mesh, target.parse_target(where, namespace))
    message = {
        "op": "exec",
        "namespace": pod["metadata"]["namespace"],
        "pod": pod["metadata"]["name"],
        "argv": list(argv),
        "env": _variables(environment, tty=tty),
        "tty": tty,
    }
    if container:
        message["container"] = container
    if tty:
        from hauberk.cli import terminal  # noqa: PLC0415 -- pty and termios only where a terminal is wanted

        return terminal.run(mesh.places, message)
    sys.stdout.flush()
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 -- a descriptor is wanted, not a file
        answer, _ = session.ask(mesh.places, message, (0 if interactive else nothing.fileno(), 1, 2))
    return int(answer["exit"])


def _variables(given: tuple[str, ...], *, tty: bool) -> dict[str, str]:
    found = {"TERM": os.environ["TERM"]} if tty and "TERM" in os.environ else {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{each!r} is not K=V", param_hint="--env")
        found[name] = value
    return found
