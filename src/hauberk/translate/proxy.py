"""Everything that one proxy is told: what all proxies share, what its namespace shares, and its own."""

from __future__ import annotations

from hauberk.api.metadata import ObjectKey
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.translate.inbound import translate_inbound
from hauberk.translate.outbound import translate_mesh, translate_routes
from hauberk.xds.resource import Resource

Resources = tuple[Resource, ...]


def translate_shared(snapshot: MeshSnapshot, namespace: str) -> Resources:
    """What every proxy of `namespace` is told alike; the same tuple as last time if nothing of it changed."""
    return snapshot.reuse(_join, translate_mesh(snapshot), translate_routes(snapshot, namespace), scope=namespace)


def translate_own(snapshot: MeshSnapshot, pod: ObjectKey) -> Resources:
    """What only the sidecar of `pod` is told; empty if the pod has no sidecar. The same tuple if nothing of it changed."""
    return translate_inbound(snapshot, pod)


def _join(mesh: Resources, namespace: Resources) -> Resources:
    return mesh + namespace
