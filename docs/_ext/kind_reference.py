"""Tables of the reference of kinds, made from the types themselves: fields, keys of conditions, limits, codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from docutils import nodes
from docutils.statemachine import StringList
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from hauberk.api.condition_key import ConditionKind, condition_words
from hauberk.api.duration import format_duration
from hauberk.api.model import ApiModel
from hauberk.api.problem_codes import CODES
from hauberk.api.rate_limit_key import bucket_words


class _Table(SphinxDirective):
    """Lines of Markdown in place of the directive."""

    def run(self) -> list[nodes.Node]:
        found = nodes.container()
        self.state.nested_parse(StringList(list(self.lines()), source=type(self).__name__), 0, found)
        return found.children

    def lines(self) -> Iterator[str]:
        raise NotImplementedError


class FieldTable(_Table):
    """`{field-table} MODULE:CLASS`: every field with its type and default."""

    required_arguments = 1

    def lines(self) -> Iterator[str]:
        module, _, name = self.arguments[0].partition(":")
        model: type[ApiModel] = getattr(import_module(module), name)
        yield "| field | type | default |"
        yield "|---|---|---|"
        for attribute, field in model.model_fields.items():
            yield f"| `{field.alias or attribute}` | {type_text(field.annotation)} | {default_text(field)} |"
        yield ""


class ConditionKeys(_Table):
    """`{condition-keys}`: what a condition may ask."""

    def lines(self) -> Iterator[str]:
        yield "| key | on TCP | in CUSTOM |"
        yield "|---|---|---|"
        for kind, word in zip(ConditionKind, condition_words(), strict=True):
            custom = not (kind.of_token or kind.of_peer)
            yield f"| `{word}` | {'no' if kind.http_only else 'yes'} | {'yes' if custom else 'no'} |"
        yield ""


class BucketKeys(_Table):
    """`{bucket-keys}`: by what a limit may tell requests apart."""

    def lines(self) -> Iterator[str]:
        yield ", ".join(f"`{word}`" for word in bucket_words())
        yield ""


class ProblemTable(_Table):
    """`{problem-table} FIRST LAST`: codes with what they mean, and what to do."""

    required_arguments = 2

    def lines(self) -> Iterator[str]:
        first, last = self.arguments
        yield "| code | severity | what it says | what to do |"
        yield "|---|---|---|---|"
        for code in sorted(each for each in CODES if first <= each <= last):
            known = CODES[code]
            yield f"| {code} | {known.severity} | **{known.title}.** {cell(known.explanation)} | {cell(known.remedy)} |"
        yield ""


def cell(text: str) -> str:
    """Text as it may stand in a table: outside of code a star would be an emphasis, a bar the next column."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else re.sub(r"([*<>{}\[\]_])", r"\\\1", part) for index, part in enumerate(parts))


def type_text(annotation: Any) -> str:
    """A type in a reader's words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(type_text(each) for each in inner if each is not type(None))
    if origin is tuple:
        return f"list of {type_text(inner[0])}"
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inner)
    return _plain_type(annotation) if origin is None else "mapping"


def _plain_type(annotation: Any) -> str:
    if issubclass(annotation, ApiModel):
        return "mapping"
    words = {str: "text", int: "number", bool: "true or false", timedelta: "duration"}
    return words.get(annotation) or ", ".join(f"`{each.value}`" for each in annotation)


def default_text(field: FieldInfo) -> str:
    """A default as YAML would say it."""
    default = field.default
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, timedelta):
        return f"`{format_duration(default)}`"
    if default is None or default in ((), "", {}) or isinstance(default, ApiModel):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for name, directive in {
        "field-table": FieldTable,
        "condition-keys": ConditionKeys,
        "bucket-keys": BucketKeys,
        "problem-table": ProblemTable,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "version": "1"}
