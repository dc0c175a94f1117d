"""One xDS resource, encoded once and shared by everyone who is sent it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource
from google.protobuf.message import Message

PREFIX: Final = "type.googleapis.com/"
CLUSTER: Final = PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = PREFIX + "envoy.config.listener.v3.Listener"
EXTENSION: Final = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
ROUTES: Final = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SCOPED_ROUTES: Final = PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"
SECRET: Final = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Resource:
    """A named resource; `encoded` is the bytes of `envoy.service.discovery.v3.Resource`, `version` the digest of its body.

    `origins` are the objects it came from (`Kind/namespace/name`), so that a rejection leads back to one line of YAML.
    """

    type_url: str
    name: str
    version: str
    encoded: bytes = field(repr=False)
    origins: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, message: Message, name: str, *, origins: tuple[str, ...] = ()) -> Resource:
        """`message` packed and digested: equal messages give equal bytes and an equal version."""
        # Without `deterministic` upb writes map entries in random order, and every restart would look like a change.
        body = message.SerializeToString(deterministic=True)
        type_url = PREFIX + message.DESCRIPTOR.full_name
        version = blake2b(body, digest_size=8).hexdigest()
        encoded = EncodedResource(name=name, version=version)
        encoded.resource.type_url = type_url
        encoded.resource.value = body
        return cls(type_url, name, version, encoded.SerializeToString(deterministic=True), origins)

    @classmethod
    def parse(cls, encoded: EncodedResource) -> Resource:
        """The resource as it came from another server; its version is believed, its bytes are kept as they are."""
        body = encoded.resource
        return cls(body.type_url, encoded.name, encoded.version, encoded.SerializeToString(deterministic=True))
