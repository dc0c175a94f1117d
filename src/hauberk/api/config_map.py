"""ConfigMap: named texts; the one called `istio` in the root namespace holds the mesh's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from hauberk.api.finding import Finding, path_text
from hauberk.api.mesh_config import KEY, NAME, ROOT_NAMESPACE, parse_mesh_config
from hauberk.api.metadata import ApiObject


class ConfigMap(ApiObject):
    """Texts by key."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"binaryData"})
    HARMLESS: ClassVar[frozenset[str]] = frozenset({"immutable"})

    api_version: Literal["v1"] = "v1"
    kind: Literal["ConfigMap"] = "ConfigMap"
    data: Mapping[str, str] = {}

    def findings(self) -> Iterator[Finding]:
        return check_config_map(self)


def check_config_map(config_map: ConfigMap) -> Iterator[Finding]:
    """Mistakes of the mesh's settings, if this ConfigMap holds them."""
    metadata = config_map.metadata
    if (metadata.namespace, metadata.name) != (ROOT_NAMESPACE, NAME) or KEY not in config_map.data:
        return
    _, findings = parse_mesh_config(config_map.data[KEY])
    for each in findings:
        # Problems name the field inside the text; their place is the ConfigMap's text itself.
        field = path_text(each.at)
        yield replace(each, at=("data", KEY), message=f"{field}: {each.message}" if field != f"data.{KEY}" else each.message)
