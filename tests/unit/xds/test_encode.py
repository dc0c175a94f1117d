from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.xds.envoys import cluster

from hauberk.xds.encode import encode_resources, encode_response, encode_varint
from hauberk.xds.resource import CLUSTER


@given(st.lists(st.text(max_size=300), max_size=5), st.lists(st.text(max_size=200), max_size=5), st.text(max_size=40))
def test_the_concatenation_is_the_response_that_protobuf_would_make(names: list[str], removed: list[str], nonce: str) -> None:
    resources = [cluster(name) for name in names]
    response = DeltaDiscoveryResponse.FromString(encode_response(CLUSTER, nonce, (encode_resources(resources),), removed))
    assert [each.SerializeToString(deterministic=True) for each in response.resources] == [r.encoded for r in resources]
    assert (response.type_url, response.nonce, list(response.removed_resources)) == (CLUSTER, nonce, removed)


def test_lengths_beyond_one_byte() -> None:
    assert [encode_varint(n) for n in (0, 127, 128, 300)] == [b"\x00", b"\x7f", b"\x80\x01", b"\xac\x02"]
