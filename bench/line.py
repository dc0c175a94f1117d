"""`Line`: one measured figure, what it was to be, and how far single measurements lay apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table; `target` None: there is nothing to reach, the figure explains another one.

    Smaller is better in every row that has a target. `value` None: not measured, and `note` says why.
    """

    group: str
    name: str
    unit: str
    value: float | None
    target: float | None = None
    low: float | None = None
    high: float | None = None
    samples: int = 0
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None if there is none, or nothing was measured."""
        return None if self.value is None or self.target is None else self.value <= self.target

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}


def typical(group: str, name: str, unit: str, values: Sequence[float], *, target: float | None = None, note: str = "") -> Line:
    """The median of `values`, with the smallest and the largest beside it."""
    return Line(
        group=group,
        name=name,
        unit=unit,
        value=median(values),
        target=target,
        low=min(values),
        high=max(values),
        samples=len(values),
        note=note,
    )


def absent(group: str, name: str, why: str) -> Line:
    """A row that says what was left out."""
    return Line(group=group, name=name, unit="", value=None, note=why)


def figure(value: float) -> str:
    """Three digits that mean something: `0.123`, `12.3`, `12,345`."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"
