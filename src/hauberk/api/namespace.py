"""Namespace: the scope of names, and of policies."""

from __future__ import annotations

from typing import ClassVar, Literal

from hauberk.api.metadata import ApiObject
from hauberk.api.model import ApiModel
from hauberk.api.name import label_fault


class NamespaceSpec(ApiModel):
    """Nothing here; Kubernetes writes its finalizers."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"finalizers"})


class Namespace(ApiObject):
    """A namespace."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Namespace"] = "Namespace"
    spec: NamespaceSpec = NamespaceSpec()

    @staticmethod
    def name_fault(name: str) -> str | None:
        return label_fault(name)
