"""The annotation that tries a policy without enforcing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from hauberk.api.finding import Finding

DRY_RUN: Final = "istio.io/dry-run"
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


def is_dry_run(annotations: Mapping[str, str]) -> bool:
    """The object is only tried; what is neither true nor false is refused by the check and so enforced here."""
    return annotations.get(DRY_RUN) in _TRUE


def check_dry_run(annotations: Mapping[str, str]) -> Iterator[Finding]:
    """A value that is neither true nor false."""
    value = annotations.get(DRY_RUN)
    if value is not None and value not in (*_TRUE, *_FALSE):
        yield Finding("HBK0110", ("metadata", "annotations", DRY_RUN), f"{value!r} is neither true nor false")
