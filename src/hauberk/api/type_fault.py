"""pydantic's errors as findings: in words of YAML, at the innermost place, each mistake once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hauberk.api.finding import Finding, Location
from hauberk.api.sift import near_remedy

_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "int_or_string_type": "a whole number or a text",
    "duration_type": "a duration such as 10s",
    "datetime_type": "a time such as 2026-01-31T12:00:00Z",
    "datetime_parsing": "a time such as 2026-01-31T12:00:00Z",
    "datetime_from_date_parsing": "a time such as 2026-01-31T12:00:00Z",
}


def type_findings(error: ValidationError) -> Iterator[Finding]:
    """A finding for each mistake."""
    details = error.errors(include_url=False)
    for detail in details:
        at = detail["loc"]
        below = any(len(other["loc"]) > len(at) and other["loc"][: len(at)] == at for other in details)
        if detail["type"] == "default_factory_not_called" or (detail["type"] == "too_short" and below):
            continue
        yield _finding(detail)


def _finding(detail: ErrorDetails) -> Finding:
    kind, at, value = detail["type"], detail["loc"], detail["input"]
    context = detail.get("ctx", {})
    if at and at[-1] == "[key]":
        return Finding("HBK0104", at[:-1], f"the key {at[-2]!r} must be {_WANTED.get(kind, 'of another type')}")
    if kind in _WANTED:
        return _wrong_type(at, value, _WANTED[kind])
    match kind:
        case "missing":
            finding = Finding("HBK0105", at, f"{at[-1]} is required")
        case "too_short":
            finding = Finding("HBK0302" if _is_policy(at) else "HBK0105", at, f"{at[-1]} must not be empty")
        case "literal_error" | "enum":
            finding = _choice(at, value, str(context.get("expected", "")))
        case "greater_than_equal":
            finding = Finding("HBK0107", at, f"{value} is out of range; it must be at least {context['ge']}")
        case "less_than_equal":
            finding = Finding("HBK0107", at, f"{value} is out of range; it must be at most {context['le']}")
        case "extra_forbidden":
            finding = Finding("HBK0103", at, f"unknown field {at[-1]!r}")
        case _:
            # Our own validators name their code; anything else is a form that pydantic checked.
            finding = Finding(kind if kind.startswith("HBK") else "HBK0110", at, detail["msg"])
    return finding


def _is_policy(at: Location) -> bool:
    return at[-1] in ("from", "to")


def _choice(at: Location, value: Any, expected: str) -> Finding:
    allowed = re.findall(r"'([^']*)'", expected)
    message = f"{describe(value)} is not allowed; it must be {' or '.join(allowed)}"
    return Finding("HBK0106", at, message, near_remedy(value, allowed) if isinstance(value, str) else None)


def _wrong_type(at: Location, value: Any, wanted: str) -> Finding:
    remedy = None
    if wanted == "a text" and isinstance(value, bool | int | float):
        remedy = "put the value in quotes"
    elif isinstance(value, str) and value.lstrip("-").isdigit() and "number" in wanted:
        remedy = f"write {value} without quotes"
    elif wanted == "a list":
        remedy = "write the value as a list: [ … ], or lines that begin with '- '"
    return Finding("HBK0104", at, f"must be {wanted}, but is {describe(value)}", remedy)


def describe(value: Any) -> str:
    """A value in a few words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value!r}" if len(value) <= 60 else f"the text {value[:57]!r}…"
        case list() | tuple():
            return "a list"
        case _:
            return "a mapping"
