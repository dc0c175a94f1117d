"""What the analysis says."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.api.finding import Finding
from hauberk.api.metadata import ObjectKey


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding in the object `about`; `other` is an object without which it would not be so."""

    about: ObjectKey
    finding: Finding
    other: ObjectKey | None = None
