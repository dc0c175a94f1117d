"""Typed objects to and from documents: plain mappings as the json module gives them, and JSON text as the store keeps it."""

from __future__ import annotations

from typing import Any

from hauberk.api.kinds import kind_named
from hauberk.api.metadata import ApiObject
from hauberk.api.model import Json

EMPTY: tuple[Any, ...] = ({}, [], "")
# Fields of type Mapping[str, str], whose keys are users' own; a test compares this with the models.
TEXT_MAPPINGS = frozenset({"labels", "annotations", "matchLabels", "selector", "data"})


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
    return _without_empty(document)


def from_json(kind: str, text: str | bytes) -> ApiObject:
    """The object that `to_json` wrote: the fast way for the store, which knows the kind."""
    known = kind_named(kind)
    if known is None:
        raise UnknownKind(f"unknown kind {kind!r}")
    return known.model.model_validate_json(text)


def to_json(value: ApiObject) -> str:
    """JSON text; equal objects give equal text."""
    return value.model_dump_json(by_alias=True, exclude_none=True)


def _without_empty(mapping: dict[str, Any], *, keyed_by_users: bool = False) -> dict[str, Any]:
    # An empty value of a field equals its default. As an item of a list ({} in rules) or under a user's key (an annotation) it
    # means something.
    kept: dict[str, Any] = {}
    for name, value in mapping.items():
        if isinstance(value, dict):
            value = _without_empty(value, keyed_by_users=name in TEXT_MAPPINGS)  # noqa: PLW2901 - the pruned form replaces it
        elif isinstance(value, list):
            value = [_without_empty(item) if isinstance(item, dict) else item for item in value]  # noqa: PLW2901 - as above
        if keyed_by_users or value not in EMPTY:
            kept[name] = value
    return kept
