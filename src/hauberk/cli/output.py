"""`-o`: one document in the shape that was asked for, on stdout and nothing else there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from hauberk.cli import invocation, table
from hauberk.cli.failure import Exit, Failure

Document = dict[str, Any]
_NAMES = ("table", "wide", "json", "yaml", "name")


@dataclass(frozen=True, slots=True)
class Format:
    """How to print: one of table, wide, json, yaml, name or jsonpath with its template."""

    name: str = "table"
    template: str = ""

    @property
    def is_table(self) -> bool:
        """For people: aligned columns."""
        return self.name in ("table", "wide")

    @property
    def wide(self) -> bool:
        """With the columns that few need."""
        return self.name == "wide"


def parse_format(text: str, allowed: Sequence[str] = (*_NAMES, "jsonpath")) -> Format:
    """The format that `-o text` asks for; wrong usage if there is none such."""
    name, _, template = text.partition("=")
    if name not in allowed or (name == "jsonpath") != bool(template):
        choices = "|".join("jsonpath=…" if each == "jsonpath" else each for each in allowed)
        raise Failure(f"-o {text!r} is not a format", "", f"use one of {choices}", Exit.USAGE)
    return Format(name, template)


def _convert(allowed: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], Format]:
    return lambda _context, _parameter, value: parse_format(value, allowed)


def output_option(*allowed: str) -> Callable[[Any], Any]:
    """The option `-o` of a command, limited to the formats that mean something there."""
    names = allowed or (*_NAMES, "jsonpath")
    return click.option(
        "-o",
        "--output",
        "form",
        default=names[0],
        callback=_convert(names),
        metavar="|".join("jsonpath=…" if each == "jsonpath" else each for each in names),
        help="How to print it.",
    )


def show_document(document: Any, form: Format) -> None:
    """Print one document as JSON, YAML or by a jsonpath template."""
    click.echo(encode(document, form))


def encode(document: Any, form: Format) -> str:
    """One document as text."""
    if form.name == "json":
        return json.dumps(document, indent=2, ensure_ascii=False)
    if form.name == "yaml":
        return as_yaml(document)
    from hauberk.cli import jsonpath  # noqa: PLC0415 -- rarely asked for

    try:
        return jsonpath.render(form.template, document)
    except jsonpath.BadPath as error:
        raise Failure("the jsonpath template cannot be read", str(error), "see `hauberk get --help` for an example", Exit.USAGE) from error


def as_yaml(document: Any) -> str:
    """A document as YAML, fields in the order they have."""
    import yaml  # noqa: PLC0415 -- 30 ms that only `-o yaml` should cost

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=False)).rstrip("\n")


def show_rows(header: Sequence[str], rows: Sequence[table.Row]) -> None:
    """Print a table; colours only for a terminal."""
    for line in table.columns(header, rows, colors=invocation.current().colors(sys.stdout)):
        click.echo(line)
