"""What every object has: a name, a namespace, labels, and what the store writes beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import ClassVar, NamedTuple

from hauberk.api.finding import Finding
from hauberk.api.model import ApiModel, Bool, Int
from hauberk.api.name import subdomain_fault


class ObjectKey(NamedTuple):
    """What tells one object from every other; `namespace` is empty for kinds of the whole mesh.

    A tuple and not a dataclass: with thousands of pods every change looks up hundreds of thousands of keys, and these hash in C.
    """

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


class OwnerReference(ApiModel):
    """The object on whose behalf this one exists, and with which it goes."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: Bool | None = None
    block_owner_deletion: Bool | None = None


class Metadata(ApiModel):
    """Metadata of an object; `uid` to `owner_references` are the store's to write."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"managedFields", "selfLink", "deletionGracePeriodSeconds"})
    IGNORED: ClassVar[frozenset[str]] = frozenset({"finalizers"})
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"generateName"})

    name: str
    namespace: str = ""
    uid: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    resource_version: str = ""
    generation: Int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class TemplateMetadata(ApiModel):
    """Metadata that a pod made from a template receives; the pod's name is made by its controller."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"name", "namespace", "creationTimestamp"})
    IGNORED: ClassVar[frozenset[str]] = frozenset({"finalizers"})

    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class ApiObject(ApiModel):
    """Base of every kind."""

    api_version: str
    kind: str
    metadata: Metadata

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.kind, self.metadata.namespace, self.metadata.name)

    def findings(self) -> Iterator[Finding]:
        """Mistakes of this object that types alone do not show; a kind that can have some says which."""
        return iter(())

    @staticmethod
    def name_fault(name: str) -> str | None:
        """Why `name` is no name for an object of this kind."""
        return subdomain_fault(name)
