"""One response to be sent, and what a proxy did not accept of one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hauberk.xds.change import Change
from hauberk.xds.encode import encode_response
from hauberk.xds.resource import Resource


@dataclass(frozen=True, slots=True)
class Update:
    """A response of one type: the resources of `changes`, and the names in `removed`."""

    type_url: str
    nonce: str
    changes: tuple[Change, ...]
    removed: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """About how many bytes the encoded response has; known without encoding it."""
        return sum(change.size for change in self.changes)

    def resources(self) -> Iterator[Resource]:
        for change in self.changes:
            yield from change.updated

    def names(self) -> frozenset[str]:
        """Names of the resources it tells."""
        if len(self.changes) == 1:
            return self.changes[0].names
        return frozenset().union(*(change.names for change in self.changes))

    def encode(self) -> bytes:
        """The bytes to send: one shared object where the response is the same for many proxies."""
        if len(self.changes) == 1 and self.nonce == self.changes[0].digest:
            (change,) = self.changes
            if not self.removed:
                return change.response(self.type_url, with_removals=False)
            if self.removed == change.removed:
                return change.response(self.type_url, with_removals=True)
        return encode_response(self.type_url, self.nonce, (change.body() for change in self.changes), self.removed)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A resource that a proxy refused; it goes on with the version it had. `name` is empty where Envoy named none."""

    type_url: str
    name: str
    version: str
    message: str
    origins: tuple[str, ...] = ()


def rejections_of(update: Update, message: str) -> tuple[Rejection, ...]:
    """The resources of `update` that `message`, Envoy's reason for refusing it, names.

    Envoy applies the good resources of a response that it refuses, so only these keep their old version.
    """
    resources = tuple(update.resources())
    if len(resources) != 1:
        resources = tuple(resource for resource in resources if _mentions(message, resource.name))
    if not resources:
        return (Rejection(update.type_url, "", "", message),)
    return tuple(Rejection(update.type_url, r.name, r.version, message, r.origins) for r in resources)


def _mentions(message: str, name: str) -> bool:
    # Whole names only: `outbound|80||a.b` must not be blamed for what is said of `outbound|80||a.bc` or `x.outbound|80||a.b`.
    return name in message and re.search(rf"(?<![\w|.-]){re.escape(name)}(?![\w|-]|\.\w)", message) is not None
