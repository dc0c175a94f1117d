"""Layers of resources for every proxy, from the latest snapshot; what cannot be translated keeps its last good layer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from hauberk.api.metadata import ObjectKey
from hauberk.api.problem import Problem
from hauberk.kit.log import logger
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.xds.layers import Layer
from hauberk.xds.resource import Resource

Resources = tuple[Resource, ...]

log = logger("pilot")


class Translator(Protocol):
    """Objects to resources. Each returns the very same tuple as last time if nothing of it changed."""

    def mesh(self, snapshot: MeshSnapshot) -> Resources:
        """What every proxy of the mesh is told alike."""

    def namespace(self, snapshot: MeshSnapshot, namespace: str) -> Resources:
        """What every proxy of one namespace is told besides."""

    def pod(self, snapshot: MeshSnapshot, pod: ObjectKey) -> Resources:
        """What only the sidecar of `pod` is told; empty if it has none."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A layer and the tuple it was made of."""

    resources: Resources
    layer: Layer


class Translation:
    """Layers by slot. A slot is made at most once per snapshot, and only when a proxy needs it."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._snapshot: MeshSnapshot | None = None
        self._made: dict[str, _Made] = {}
        self._current: set[str] = set()
        self._problems: dict[str, Problem] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be translated at the last attempt."""
        return tuple(self._problems.values())

    def renew(self, snapshot: MeshSnapshot) -> None:
        """From now on layers are of `snapshot`."""
        self._snapshot = snapshot
        self._current.clear()

    def shared(self, namespace: str) -> tuple[Layer, ...]:
        """The layers that all proxies of `namespace` share."""
        translate = self._translator
        mesh = self._layer("mesh", "", translate.mesh)
        own = self._layer(f"namespace/{namespace}", f"Namespace/{namespace}", lambda snapshot: translate.namespace(snapshot, namespace))
        return tuple(layer for layer in (mesh, own) if layer is not None)

    def of(self, pod: ObjectKey) -> tuple[Layer, ...] | None:
        """All layers of the proxy of `pod`; None as long as one of them could never be translated."""
        own = self._layer(_slot(pod), str(pod), lambda snapshot: self._translator.pod(snapshot, pod))
        shared = self.shared(pod.namespace)
        return (*shared, own) if own is not None and len(shared) == 2 else None

    def keep(self, pods: Collection[ObjectKey]) -> None:
        """Forget the layers of all pods but these."""
        if len(self._made) <= len(pods):
            return  # nothing to forget: there are shared layers besides
        wanted = {_slot(pod) for pod in pods}
        for slot in [slot for slot in self._made if slot.startswith("pod/") and slot not in wanted]:
            del self._made[slot]
        for slot in [slot for slot in self._problems if slot.startswith("pod/") and slot not in wanted]:
            del self._problems[slot]

    def _layer(self, slot: str, concerns: str, translate: Callable[[MeshSnapshot], Resources]) -> Layer | None:
        before = self._made.get(slot)
        if slot in self._current or self._snapshot is None:
            return before.layer if before is not None else None
        self._current.add(slot)
        # One object that the translation stumbles over must not keep the rest of the mesh from its configuration.
        try:
            resources = translate(self._snapshot)
        except Exception as error:  # whatever it is, it is a bug, told loudly and once per snapshot
            log.exception("translation failed; the last good configuration stays", slot=slot)
            self._problems[slot] = _problem(concerns, error)
            return before.layer if before is not None else None
        self._problems.pop(slot, None)
        if before is None or before.resources is not resources:
            layer = Layer.of(slot, resources, before.layer if before is not None else None)
            before = self._made[slot] = _Made(resources, layer)
        return before.layer


def _slot(pod: ObjectKey) -> str:
    return f"pod/{pod.namespace}/{pod.name}"


def _problem(concerns: str, error: Exception) -> Problem:
    return Problem(
        code="HBK0607",
        object=concerns,
        message=f"its configuration could not be made ({type(error).__name__}: {error}); the last good one stays",
        remedy="this is a fault of the mesh, not of the object: report it with the control plane's log; undoing the last change helps",
    )
