"""The mesh's settings, found among all ConfigMaps."""

from __future__ import annotations

from hauberk.api.config_map import ConfigMap
from hauberk.api.mesh_config import NAME, MeshConfig, mesh_config_of


def read_mesh_config(root_namespace: str, *config_maps: ConfigMap) -> MeshConfig:
    """What the ConfigMap `istio` of the root namespace says; the defaults if there is none."""
    place = (root_namespace, NAME)
    found = (each for each in config_maps if (each.metadata.namespace, each.metadata.name) == place)
    return mesh_config_of(next(found, None))
