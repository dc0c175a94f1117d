"""Takes out of a document what its type does not hold, and says why each was taken out.

Types are closed (an unknown field is a mistake), but users' files come from clusters and carry fields that concern nothing
here. Only this walk knows the difference; it follows the annotations of the models, so a new kind needs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from hauberk.api.finding import Finding, Location
from hauberk.api.model import ApiModel, Json

Nested = tuple[type[ApiModel], bool]  # the type below a field, and whether a mapping's values (not the mapping) have it
NEUTRAL: tuple[Any, ...] = (False, {}, [], "")  # hostNetwork: false asks for what is so anyway


def sift(document: Json, model: type[ApiModel], *, security: bool = False) -> tuple[Json, list[Finding]]:
    """The document with only fields of `model`, without nulls, and a finding for each field taken out.

    In a `security` kind an unsupported field is reported whatever its value; elsewhere neutral values ask for what is so anyway.
    """
    walk = _Walk(security)
    return walk.mapping(document, model, ()), walk.findings


class _Walk:
    def __init__(self, security: bool) -> None:
        self.findings: list[Finding] = []
        self._unsupported = "HBK0301" if security else "HBK0203"
        self._lenient = not security

    def mapping(self, document: Json, model: type[ApiModel], at: Location) -> Json:
        fields = nested_fields(model)
        kept: Json = {}
        for name, value in document.items():
            if name not in fields:
                self._leave_out(name, value, model, at)
            elif value is not None:
                nested = fields[name]
                kept[name] = self._value(value, nested, (*at, name)) if nested else value
        return kept

    def _value(self, value: Any, nested: Nested, at: Location) -> Any:
        model, keyed = nested
        if isinstance(value, list):
            return [self._value(item, (model, False), (*at, index)) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if keyed:
            return {key: self._value({} if item is None else item, (model, False), (*at, key)) for key, item in value.items()}
        return self.mapping(value, model, at)

    def _leave_out(self, name: str, value: Any, model: type[ApiModel], at: Location) -> None:
        here: Location = (*at, name)
        known = name in model.HARMLESS or name in model.IGNORED or name in model.UNSUPPORTED
        if known and (value is None or (self._lenient and value in NEUTRAL)):
            return
        if name in model.HARMLESS:
            self.findings.append(Finding("HBK0204", here, f"{name} is not needed here and is left out"))
        elif name in model.IGNORED:
            self.findings.append(Finding("HBK0202", here, f"{name} has no effect here and is left out"))
        elif name in model.UNSUPPORTED:
            self.findings.append(Finding(self._unsupported, here, f"{name} is not supported yet"))
        else:
            self.findings.append(Finding("HBK0103", here, f"unknown field {name!r}", near_remedy(name, nested_fields(model))))


def near_remedy(word: str, known: Iterable[str]) -> str | None:
    """'did you mean …?' for a mistyped word, None if nothing is near."""
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return f"did you mean {by_lower[near[0]]}?" if near else None


@cache
def nested_fields(model: type[ApiModel]) -> Mapping[str, Nested | None]:
    """Names in YAML of the fields of `model`, each with the type below it."""
    return {field.alias or name: _nested(field.annotation) for name, field in model.model_fields.items()}


def _nested(annotation: Any) -> Nested | None:
    origin = get_origin(annotation)
    if origin is None:
        return (annotation, False) if isinstance(annotation, type) and issubclass(annotation, ApiModel) else None
    inner = get_args(annotation)
    if origin is Annotated:
        return _nested(inner[0])
    if origin in (Union, UnionType):
        return next((found for each in inner if (found := _nested(each))), None)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        found = _nested(inner[1])
        return (found[0], True) if found else None
    if origin is tuple:
        return _nested(inner[0])
    return None
