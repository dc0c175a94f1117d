"""What holds for one run of `hauberk` whatever the command: which mesh, how talkative, colours or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

DEFAULT_MESH = "default"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options every command has, wherever on the line they stood."""

    mesh: str = DEFAULT_MESH
    verbose: bool = False
    quiet: bool = False
    color: bool = True

    def colors(self, stream: Any = None) -> bool:
        """Colours only where a terminal can show them; NO_COLOR and TERM=dumb say it cannot."""
        terminal = (stream or sys.stdout).isatty()
        return self.color and terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def current() -> Invocation:
    """The options of the command that is running."""
    context = click.get_current_context(silent=True)
    if context is None:
        return Invocation()
    found = context.find_root().obj
    return found if isinstance(found, Invocation) else Invocation()


def shared_options() -> tuple[click.Option, ...]:
    """`--mesh`, `-v`, `-q` and `--no-color`: fresh options for one command, each noting itself in the invocation."""
    return (
        click.Option(
            ["--mesh"],
            metavar="NAME",
            envvar="HAUBERK_MESH",
            expose_value=False,
            callback=_note("mesh"),
            help="Which mesh on this machine.  [default: default]",
        ),
        click.Option(["-v", "--verbose"], is_flag=True, expose_value=False, callback=_note("verbose"), help="Say more; show tracebacks."),
        click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, callback=_note("quiet"), help="Say only what went wrong."),
        click.Option(["--no-color"], is_flag=True, expose_value=False, callback=_note("color", invert=True), help="No colours."),
    )


def _note(field: str, *, invert: bool = False) -> Callable[[click.Context, click.Parameter, Any], None]:
    def note(context: click.Context, _: click.Parameter, value: Any) -> None:
        if not value:
            return  # not given here: what stood before the command's name holds
        root = context.find_root()
        known = root.obj if isinstance(root.obj, Invocation) else Invocation()
        noted: dict[str, Any] = {field: (not value) if invert else value}
        root.obj = replace(known, **noted)

    return note


def talk(text: str) -> None:
    """Something for the person, not for a pipe: to stderr, and not at all with `-q`."""
    if not current().quiet:
        click.echo(text, err=True)
