"""ConfigMap: named texts; the one called `istio` in the root namespace holds the mesh's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from hauberk.api.metadata import ApiObject


class ConfigMap(ApiObject):
    """Texts by key."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"binaryData"})
    HARMLESS: ClassVar[frozenset[str]] = frozenset({"immutable"})

    api_version: Literal["v1"] = "v1"
    kind: Literal["ConfigMap"] = "ConfigMap"
    data: Mapping[str, str] = {}
