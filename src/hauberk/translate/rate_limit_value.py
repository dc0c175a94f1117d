"""By what a rate limit tells requests apart, as Envoy finds it in a request."""

from __future__ import annotations

import re
from typing import Final

from envoy.config.route.v3 import route_components_pb2
from envoy.type.metadata.v3 import metadata_pb2

from hauberk.api.rate_limit_key import BucketKey, BucketKind
from hauberk.envoy.message import with_newer

Action = route_components_pb2.RateLimit.Action

# What a later filter reads the namespace of, and where it leaves it; nobody else can write this header.
CALLER_HEADER: Final = "x-hauberk-caller"
CALLER_METADATA: Final = "hauberk.caller"
NAMESPACE_KEY: Final = "namespace"

# Of longer values the beginning counts: their text is kept as long as their bucket.
_LONGEST: Final = 256
# The value of requests that have none: no address, name, method or path looks like it.
_ABSENT: Final = "(none)"
_TOKEN: Final = "envoy.filters.http.jwt_authn:payload"  # noqa: S105  # where the verified token's payload is
_DEFAULT_VALUE: Final = 3  # field of GenericKey that is newer than the installed descriptors
# Other names would be read as part of a format.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~/@-]+")

_FORMATS: Final = {
    BucketKind.PRINCIPAL: "%DOWNSTREAM_PEER_URI_SAN%",
    BucketKind.NAMESPACE: f"%DYNAMIC_METADATA({CALLER_METADATA}:{NAMESPACE_KEY})%",
    BucketKind.SOURCE_IP: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    BucketKind.REMOTE_IP: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    BucketKind.REQUEST_PRINCIPAL: f"%DYNAMIC_METADATA({_TOKEN}:iss):{_LONGEST}%/%DYNAMIC_METADATA({_TOKEN}:sub):{_LONGEST}%",
    BucketKind.HOST: f"%REQ(:AUTHORITY):{_LONGEST}%",
    BucketKind.METHOD: "%REQ(:METHOD):32%",
    BucketKind.PATH: f"%PATH(NQ:PATH):{_LONGEST}%",
}


def value_action(name: str, key: BucketKey) -> Action:
    """The value that `key` names, as the entry `name` of a descriptor."""
    if key.kind is BucketKind.CLAIM and not all(map(_PLAIN.fullmatch, key.name)):
        return _claim(name, key.name)
    made = Action.GenericKey(descriptor_key=name, descriptor_value=_format(key))
    return Action(generic_key=with_newer(made, _DEFAULT_VALUE, _ABSENT.encode()))


def _format(key: BucketKey) -> str:
    match key.kind:
        case BucketKind.CLAIM:
            return f"%DYNAMIC_METADATA({':'.join((_TOKEN, *key.name))}):{_LONGEST}%"
        case BucketKind.HEADER:
            return f"%REQ({key.name[0]}):{_LONGEST}%"
        case kind:
            return _FORMATS[kind]


def _claim(name: str, path: tuple[str, ...]) -> Action:
    """A claim whose name no format could hold; a list has no value of its own here."""
    filter_, payload = _TOKEN.split(":")
    segments = [metadata_pb2.MetadataKey.PathSegment(key=part) for part in (payload, *path)]
    place = metadata_pb2.MetadataKey(key=filter_, path=segments)
    return Action(metadata=Action.MetaData(descriptor_key=name, metadata_key=place, default_value=_ABSENT))
