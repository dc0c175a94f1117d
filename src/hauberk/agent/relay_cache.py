"""What a pod's Envoy was last told and accepted, on disk: a restarted Envoy or agent needs no control plane to go on.

Never a secret: those are made by the agent and stay in memory.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse
from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource
from google.protobuf.message import DecodeError

from hauberk.kit.digest import digest
from hauberk.kit.log import logger
from hauberk.xds.encode import encode_resources, encode_response
from hauberk.xds.resource import SECRET, Resource

_log = logger("relay")


@dataclass(frozen=True, slots=True)
class RelayCache:
    """The resources of one pod, kept in one file."""

    path: Path

    def read(self) -> tuple[Resource, ...]:
        """What was kept last; nothing if there is no file or it is damaged, for the control plane has it all."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        try:
            return decode(content)
        except (ValueError, DecodeError):
            _log.warning("a damaged cache is ignored", path=str(self.path))
            return ()

    def write(self, resources: Iterable[Resource]) -> None:
        """Exactly `resources` are kept; a crash in the middle leaves those kept before."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode(resources))
        temporary.replace(self.path)

    def forget(self) -> None:
        """Nothing is kept."""
        self.path.unlink(missing_ok=True)


def encode(resources: Iterable[Resource]) -> bytes:
    """A digest, then the resources framed as an xDS response would frame them."""
    kept = [resource for resource in resources if resource.type_url != SECRET]
    body = encode_response("", "", (encode_resources(kept),))
    return digest(body).encode() + b"\n" + body


def decode(content: bytes) -> tuple[Resource, ...]:
    """The resources in `content`; ValueError or DecodeError if it is not what `encode` made."""
    check, _, body = content.partition(b"\n")
    # Without the check, a file cut off between two resources would look whole, and half a configuration is worse than none.
    if check.decode(errors="replace") != digest(body):
        raise ValueError("the digest does not fit")
    return tuple(Resource.parse(_checked(encoded)) for encoded in DeltaDiscoveryResponse.FromString(body).resources)


def _checked(encoded: EncodedResource) -> EncodedResource:
    if not (encoded.name and encoded.resource.type_url):
        raise ValueError("a resource without name or type")
    return encoded
