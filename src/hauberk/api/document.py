"""Typed objects to and from documents: plain mappings as the json module gives them, and JSON text as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from hauberk.api.kinds import kind_named
from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel, Json
from hauberk.api.sift import Nested, nested_fields


class UnknownKind(ValueError):
    """The document is of no kind that this version knows."""


def from_document(document: Json) -> ApiObject:
    """The object, in its kind's one API version; pydantic.ValidationError if it is none. For documents of our own making.

    What users wrote goes through `manifest.check_document`, which finds every mistake and says where it is.
    """
    kind = kind_named(str(document.get("kind")))
    if kind is None:
        raise UnknownKind(f"unknown kind {document.get('kind')!r}")
    if document.get("apiVersion") in kind.api_versions[1:]:
        document = {**document, "apiVersion": kind.api_versions[0]}
    return kind.model.model_validate(document)


def to_document(value: ApiObject) -> Json:
    """The document, with defaults filled in and without empty fields; `from_document` gives back an equal object."""
    document: Json = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return without_empty(document, type(value))


def from_json(kind: str, text: str | bytes) -> ApiObject:
    """The object that `to_json` wrote: the fast way for the store, which knows the kind."""
    known = kind_named(kind)
    if known is None:
        raise UnknownKind(f"unknown kind {kind!r}")
    return known.model.model_validate_json(text)


def to_json(value: ApiObject) -> str:
    """JSON text; equal objects give equal text."""
    return value.model_dump_json(by_alias=True, exclude_none=True)


def without_empty(document: Json, model: type[ApiModel]) -> Json:
    """`document` without the fields that come back as the same empty value when they are absent."""
    fields = _dumped_fields(model)
    kept: Json = {}
    for name, value in document.items():
        nested, empty_by_default = fields[name]
        pruned = _prune(value, nested) if nested else value
        if pruned or not empty_by_default:
            kept[name] = pruned
    return kept


def _prune(value: Any, nested: Nested) -> Any:
    model, keyed = nested
    if isinstance(value, list):
        return [without_empty(item, model) for item in value]
    if keyed:
        return {key: without_empty(item, model) for key, item in value.items()}
    return without_empty(value, model)


@cache
def _dumped_fields(model: type[ApiModel]) -> Mapping[str, tuple[Nested | None, bool]]:
    """Of each field by its name in YAML: the type below it, and whether an absent one is an empty one."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return {alias: (nested, _is_empty(fields[alias].default)) for alias, nested in nested_fields(model).items()}


def _is_empty(default: Any) -> bool:
    if isinstance(default, ApiModel):
        return not without_empty(default.model_dump(mode="json", by_alias=True, exclude_none=True), type(default))
    return isinstance(default, str | tuple | dict) and not default
