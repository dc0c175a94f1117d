"""Commands and groups as `hauberk` uses them: shared options, examples in the help, loaded when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from hauberk.cli import invocation

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Verb(click.Command):
    """A command with the options every command has, and examples at the end of its help."""

    def __init__(self, name: str | None, *, examples: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs["context_settings"] = {**CONTEXT, **(kwargs.get("context_settings") or {})}
        super().__init__(name, **kwargs)
        self.examples = tuple(examples)
        self.params.extend(invocation.shared_options())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line, as they would be typed."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)


def verb(name: str, *examples: str, **attributes: Any) -> Callable[[Callable[..., Any]], Verb]:
    """Make a command of a function; every command shows at least one example."""
    return click.command(name, cls=Verb, examples=examples, **attributes)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives, and what the list of commands says of it without loading it."""

    name: str
    where: str
    summary: str
    section: str


class VerbGroup(click.Group):
    """Commands known by name and summary; a command's module is imported only when that command is used."""

    def __init__(self, name: str | None, *, entries: Sequence[Entry] = (), examples: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs["context_settings"] = {**CONTEXT, **(kwargs.get("context_settings") or {})}
        super().__init__(name, **kwargs)
        self.entries = {entry.name: entry for entry in entries}
        self.examples = tuple(examples)
        self.params.extend(invocation.shared_options())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of the table: what a newcomer needs first stands first."""
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load and return the command called `cmd_name`."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = entry.where.partition(":")
        loaded = getattr(importlib.import_module(module), attribute)
        assert isinstance(loaded, click.Command)
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, without importing any of them."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for entry in self.entries.values():
            sections.setdefault(entry.section, []).append((entry.name, entry.summary))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows, col_spacing=3)
        if self.commands:
            super().format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)
