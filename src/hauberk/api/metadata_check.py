"""Names, labels and annotations of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hauberk.api.dry_run import DRY_RUN
from hauberk.api.finding import Finding, Location
from hauberk.api.kinds import Kind
from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel
from hauberk.api.name import label_fault, label_key_fault, label_value_fault

LARGEST_ANNOTATIONS = 256 * 1024  # characters of all keys and values, as in Kubernetes
LABEL_FIELDS = frozenset({"labels", "matchLabels"})


def check_metadata(found: ApiObject, kind: Kind) -> Iterator[Finding]:
    """Mistakes of an object's metadata, and of every label inside it."""
    metadata = found.metadata
    if fault := found.name_fault(metadata.name):
        yield Finding("HBK0108", ("metadata", "name"), f"{metadata.name!r} is no name of a {kind.name}: it {fault}")
    if metadata.namespace and (fault := label_fault(metadata.namespace)):
        yield Finding("HBK0108", ("metadata", "namespace"), f"{metadata.namespace!r} is no name of a Namespace: it {fault}")
    yield from _check_labels(found, ())
    if DRY_RUN in metadata.annotations and kind.name not in ("AuthorizationPolicy", "RateLimitPolicy"):
        yield Finding("HBK0308", ("metadata", "annotations", DRY_RUN), f"a {kind.name} has no dry-run", "remove the annotation")


def _check_labels(model: ApiModel, at: Location) -> Iterator[Finding]:
    """Every mapping of labels or annotations at any depth, found by the types."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        here: Location = (*at, field.alias or name)
        if isinstance(value, ApiModel):
            yield from _check_labels(value, here)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, ApiModel):
                    yield from _check_labels(item, (*here, index))
        elif field.alias in LABEL_FIELDS or (field.alias == "selector" and value):
            yield from _check_pairs(value, here)
        elif field.alias == "annotations":
            yield from _check_annotations(value, here)


def _check_pairs(labels: Mapping[str, str], at: Location) -> Iterator[Finding]:
    for key, value in labels.items():
        if fault := label_key_fault(key):
            yield Finding("HBK0111", (*at, key), f"{key!r} is no key of a label: it {fault}")
        if fault := label_value_fault(value):
            yield Finding("HBK0111", (*at, key), f"{value!r} is no value of a label: it {fault}")


def _check_annotations(annotations: Mapping[str, str], at: Location) -> Iterator[Finding]:
    if sum(len(key) + len(value) for key, value in annotations.items()) > LARGEST_ANNOTATIONS:
        yield Finding("HBK0111", at, f"annotations have more than {LARGEST_ANNOTATIONS:,} characters together")
    for key in annotations:
        if fault := label_key_fault(key.lower()):
            yield Finding("HBK0111", (*at, key), f"{key!r} is no key of an annotation: it {fault}")
