"""Encoded resources from messages, or from bytes that were put together out of shared parts."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource
from google.protobuf.message import Message

from hauberk.envoy.message import encode
from hauberk.xds.resource import PREFIX, Resource


def encode_resource(message: Message, name: str, origins: Iterable[str] = ()) -> Resource:
    """`message` as a resource that came from the objects `origins`."""
    return encode_parts(PREFIX + message.DESCRIPTOR.full_name, name, (encode(message),), origins)


def encode_parts(type_url: str, name: str, parts: Iterable[bytes], origins: Iterable[str] = ()) -> Resource:
    """A resource whose body is `parts`, each one or more encoded fields of the message."""
    body = b"".join(parts)
    version = blake2b(body, digest_size=8).hexdigest()
    encoded = EncodedResource(name=name, version=version)
    encoded.resource.type_url = type_url
    encoded.resource.value = body
    return Resource(type_url, name, version, encode(encoded), tuple(origins))
