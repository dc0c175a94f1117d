from __future__ import annotations

from datetime import timedelta

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2
from hypothesis import given
from hypothesis import strategies as st

from hauberk.envoy.message import any_, duration, encode, field, struct, varint, with_newer


def test_a_map_is_encoded_in_one_order_whatever_order_it_was_filled_in() -> None:
    first, second = cluster_pb2.Cluster(), cluster_pb2.Cluster()
    for name in "abcdefgh":
        first.typed_extension_protocol_options[name].type_url = name
    for name in reversed("abcdefgh"):
        second.typed_extension_protocol_options[name].type_url = name
    assert encode(first) == encode(second)


def test_a_packed_message_can_be_unpacked() -> None:
    packed, read = any_(cluster_pb2.Cluster(name="x")), cluster_pb2.Cluster()
    assert packed.Unpack(read)
    assert read.name == "x"


def test_an_encoded_part_may_be_appended_to_an_encoded_message() -> None:
    whole = encode(cluster_pb2.Cluster(name="x")) + field(28, b"alt")
    assert cluster_pb2.Cluster.FromString(whole) == cluster_pb2.Cluster(name="x", alt_stat_name="alt")


@given(st.integers(0, 2**64 - 1))
def test_a_varint_reads_back(value: int) -> None:
    shift, read = 0, 0
    for byte in varint(value):
        read |= (byte & 0x7F) << shift
        shift += 7
    assert read == value


def test_a_field_that_the_descriptors_do_not_know_is_kept() -> None:
    config = with_newer(set_filter_state_pb2.Config(), 2, b"")
    assert encode(config) == b"\x12\x00"
    assert encode(set_filter_state_pb2.Config.FromString(encode(config))) == b"\x12\x00"


def test_durations_are_seconds_or_timedeltas() -> None:
    assert duration(1.5) == duration(timedelta(milliseconds=1500))
    assert (duration(1.5).seconds, duration(1.5).nanos) == (1, 500_000_000)


def test_a_struct_holds_texts() -> None:
    assert dict(struct(a="b")) == {"a": "b"}
