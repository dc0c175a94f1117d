"""The directive `{command-reference}`: the reference of the command line, made from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from hauberk.cli.main import root


class CommandReference(SphinxDirective):
    """Every command with its usage, options and examples."""

    def run(self) -> list[nodes.Node]:
        """The sections, parsed from the Markdown that describes each command."""
        found = nodes.container()
        text = "\n".join(line for command, context in commands() for line in describe(command, context))
        self.state.nested_parse(StringList(text.splitlines(), source="command line"), 0, found, match_titles=True)
        return found.children


def commands() -> Iterator[tuple[click.Command, click.Context]]:
    """Every command and subcommand, in the order of the help."""
    top = click.Context(root, info_name="hauberk")
    for name in root.list_commands(top):
        command = root.get_command(top, name)
        assert command is not None
        context = click.Context(command, parent=top, info_name=name)
        yield command, context
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                yield found, click.Context(found, parent=context, info_name=inner)


def describe(command: click.Command, context: click.Context) -> Iterator[str]:
    """One command as Markdown: its help exactly as the terminal shows it."""
    context.terminal_width = 100
    yield f"## {context.command_path}"
    yield ""
    yield "```text"
    yield from command.get_help(context).splitlines()
    yield "```"
    yield ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command-reference", CommandReference)
    return {"parallel_read_safe": True, "version": "1"}
