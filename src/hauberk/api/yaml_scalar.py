"""What a word of YAML means: the rules of YAML 1.1 as Kubernetes' reader has them, so that one file means one thing in both."""

from __future__ import annotations

import re
from typing import Any

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"})
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]*|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_FIRST = frozenset("-+.0123456789")  # most words are texts: one look at the first character settles it
_LONGEST_NUMBER = 60
_TAG = "tag:yaml.org,2002:"


class UnsupportedTag(ValueError):
    """A tag (!!binary, !mine) that JSON has no value for."""


def resolve_scalar(text: str, tag: str | None, *, plain: bool) -> Any:
    """The JSON value of one scalar; `plain` is one without quotes and without tag. Dates stay texts."""
    if plain:
        return _resolve_plain(text)
    if tag in (None, "!", _TAG + "str"):
        return text
    if tag in (_TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null"):
        return _resolve_plain(text)
    raise UnsupportedTag(f"the tag {tag} has no meaning here")


def _resolve_plain(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] in _FIRST and len(text) <= _LONGEST_NUMBER:
        if _INT.fullmatch(text):
            return _integer(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    try:
        if digits.startswith("0") and len(digits) > 1 and digits[1] in "01234567":
            return sign * int(digits, 8)
        return sign * int(digits, 0)
    except ValueError:
        return text
