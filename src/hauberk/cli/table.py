"""Columns of text: aligned for a terminal and for a pipe alike, with colour only where a terminal can show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from hauberk.cli.plain import printable

_GAP = "   "


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with a colour that says what it means; the colour never says more than the text does."""

    text: str
    color: str | None = None


def good(text: str) -> Cell:
    """What is as it should be."""
    return Cell(text, "green")


def bad(text: str) -> Cell:
    """What someone should look at."""
    return Cell(text, "red")


def middling(text: str) -> Cell:
    """What is under way."""
    return Cell(text, "yellow")


Row = Sequence[str | Cell]


def cell_of(value: str | Cell) -> Cell:
    """A cell whose text stays within it."""
    return Cell(printable(value.text), value.color) if isinstance(value, Cell) else Cell(printable(value))


def columns(header: Sequence[str], rows: Sequence[Row], *, colors: bool = False) -> list[str]:
    """The lines of a table: no borders, the last column not padded, so that `awk` and people both read it."""
    cells = [[cell_of(cell) for cell in row] for row in rows]
    widths = [len(name) for name in header]
    for row in cells:
        widths = [max(width, len(cell.text)) for width, cell in zip(widths, row, strict=True)]
    head = _GAP.join(name.ljust(width) for name, width in zip(header, widths, strict=True)).rstrip()
    lines = [click.style(head, bold=True) if colors else head]
    lines.extend(_line(row, widths, colors=colors) for row in cells)
    return lines


def _line(row: Sequence[Cell], widths: Sequence[int], *, colors: bool) -> str:
    parts = []
    for position, (cell, width) in enumerate(zip(row, widths, strict=True)):
        padding = "" if position == len(row) - 1 else " " * (width - len(cell.text))
        parts.append((click.style(cell.text, fg=cell.color) if colors and cell.color else cell.text) + padding)
    return _GAP.join(parts).rstrip()
