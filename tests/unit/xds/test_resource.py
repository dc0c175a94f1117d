from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource
from tests.unit.xds.envoys import cluster, listener

from hauberk.xds.resource import CLUSTER, Resource


def test_equal_messages_have_equal_versions_and_bytes() -> None:
    names = [f"r{number}" for number in range(50)]
    one, other = listener("l", *names), listener("l", *reversed(names))
    assert (one.version, one.encoded) == (other.version, other.encoded)


def test_another_body_has_another_version() -> None:
    assert cluster("a", "1").version != cluster("a", "2").version


def test_the_encoded_form_says_name_version_and_type() -> None:
    resource = cluster("a")
    encoded = EncodedResource.FromString(resource.encoded)
    assert (encoded.name, encoded.version, encoded.resource.type_url) == ("a", resource.version, CLUSTER)


def test_what_a_server_sent_is_kept_as_it_is() -> None:
    resource = cluster("a")
    assert Resource.parse(EncodedResource.FromString(resource.encoded)) == resource
