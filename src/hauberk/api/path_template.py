"""Path templates (S-A8): `/users/{*}/cart` with exactly one segment, `/store/{**}` with any number of them."""

from __future__ import annotations

import re
from typing import Final

ONE: Final = "{*}"
ANY: Final = "{**}"
MOST_OPERATORS = 16  # each is a part of an expression that every request is held against
_LITERAL = re.compile(r"[-a-zA-Z0-9._~%!$&'()+,;:@=]+")


def is_path_template(value: str) -> bool:
    """`value` is meant as a template: elsewhere in a path no brace may stand."""
    return "{" in value or "}" in value


def template_segments(value: str) -> tuple[str, ...]:
    """The segments of a template after its first slash; the last is empty if it ends with a slash."""
    return tuple(value.removeprefix("/").split("/"))


def path_template_fault(value: str) -> str | None:
    """Why `value`, which has braces, is no template."""
    if not value.startswith("/"):
        return "must begin with a slash"
    segments = template_segments(value)
    operators = [segment for segment in segments if segment in (ONE, ANY)]
    if fault := next(filter(None, (_segment_fault(segment) for segment in segments[:-1])), None):
        return fault
    if segments[-1] and (fault := _segment_fault(segments[-1])):
        return fault
    if ANY in operators[:-1]:
        return f"may have {ANY} only as its last operator"
    return f"has {len(operators)} operators; at most {MOST_OPERATORS} are allowed" if len(operators) > MOST_OPERATORS else None


def _segment_fault(segment: str) -> str | None:
    if segment in (ONE, ANY):
        return None
    if not segment:
        return "may have no empty segment but the last"
    if "{" in segment or "}" in segment:
        return f"has the segment {segment}; an operator is a segment of its own, {ONE} or {ANY}"
    if "*" in segment:
        return "may have no other * beside its operators"
    return None if _LITERAL.fullmatch(segment) else f"has the segment {segment!r} with a character that no template may hold"
