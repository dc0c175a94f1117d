"""The measured lines as a table for people."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.line import Line, figure

_MET = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}


def show(console: Console, machine: dict[str, Any], lines: Iterable[Line]) -> None:
    """The machine in one line, then one table; columns to a pipe, so that nothing is cut off there."""
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), soft_wrap=True, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("measure", "value", "low to high", "target", "", "note"):
        table.add_column(heading, justify="right" if heading in ("value", "target") else "left", overflow="fold")
    for group, members in groupby(lines, key=lambda line: line.group):
        table.add_row(f"[bold]{group}[/]")
        for line in members:
            table.add_row(*_cells(line))
        table.add_section()
    console.print(table)


def _cells(line: Line) -> tuple[str, ...]:
    if line.value is None:
        return (f"  {line.name}", "-", "", "", "", line.note or "not measured")
    spread = "" if line.low is None or line.high is None or line.samples < 2 else f"{figure(line.low)} to {figure(line.high)}"
    target = "" if line.target is None else f"≤ {figure(line.target)}"
    return (f"  {line.name}", f"{figure(line.value)} {line.unit}", spread, target, _MET[line.met], line.note)
