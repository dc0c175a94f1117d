"""Doors through which every Envoy message is made, so that equal configuration has equal bytes."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

from envoy.config.core.v3 import address_pb2, config_source_pb2
from google.protobuf import any_pb2, duration_pb2, struct_pb2, wrappers_pb2
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

TYPE_PREFIX: Final = "type.googleapis.com/"
LENGTH_DELIMITED: Final = 2


def encode(message: Message) -> bytes:
    """The bytes of `message`, the same in every process."""
    # upb writes the entries of a map in random order unless told otherwise.
    return message.SerializeToString(deterministic=True)


def any_(message: Message) -> any_pb2.Any:
    """`message` packed."""
    return any_pb2.Any(type_url=TYPE_PREFIX + message.DESCRIPTOR.full_name, value=encode(message))


def newer_any(full_name: str, encoded: bytes) -> any_pb2.Any:
    """A message that Envoy knows and the installed descriptors do not yet, packed; `encoded` is put together by `field`."""
    return any_pb2.Any(type_url=TYPE_PREFIX + full_name, value=encoded)


def field(number: int, value: bytes) -> bytes:
    """The bytes of one length-delimited field: a string, bytes or a message that is already encoded.

    Encoded fields may be appended to an encoded message in any order: that is how parts that were encoded once are shared.
    """
    return varint(number << 3 | LENGTH_DELIMITED) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """`value` as protobuf writes numbers."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def with_newer(message: M, number: int, value: bytes) -> M:
    """`message` with a field that Envoy knows and the installed descriptors do not yet; unknown fields are kept as they are."""
    message.MergeFromString(field(number, value))
    return message


def duration(length: timedelta | float) -> duration_pb2.Duration:
    """`length`, a number being seconds."""
    made = duration_pb2.Duration()
    made.FromTimedelta(length if isinstance(length, timedelta) else timedelta(seconds=length))
    return made


def uint32(value: int) -> wrappers_pb2.UInt32Value:
    return wrappers_pb2.UInt32Value(value=value)


def boolean(value: bool) -> wrappers_pb2.BoolValue:
    return wrappers_pb2.BoolValue(value=value)


def socket_address(address: str, port: int) -> address_pb2.Address:
    """A TCP address."""
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=address, port_value=port))


def pipe(path: str, mode: int = 0) -> address_pb2.Address:
    """A Unix socket."""
    return address_pb2.Address(pipe=address_pb2.Pipe(path=path, mode=mode))


def ads() -> config_source_pb2.ConfigSource:
    """Configuration that comes over the one aggregated stream; it is waited for as long as it takes."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.ApiVersion.V3,
        # Zero is "for ever". Going on without it would mean serving with half a configuration.
        initial_fetch_timeout=duration(0),
    )


def struct(**values: str) -> struct_pb2.Struct:
    """Text by name."""
    made = struct_pb2.Struct()
    made.update(values)
    return made
