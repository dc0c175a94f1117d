"""What is kept on disk for a restarted Envoy."""

import stat
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from hauberk.agent.relay_cache import RelayCache, decode, encode
from hauberk.xds.resource import Resource


def clusters(number: int) -> tuple[Resource, ...]:
    return tuple(Resource.of(Cluster(name=f"c{index}"), f"c{index}") for index in range(number))


def test_what_was_written_is_read_again_byte_for_byte(tmp_path: Path) -> None:
    cache = RelayCache(tmp_path / "xds" / "u.xds")
    cache.write(clusters(3))
    assert [(r.type_url, r.name, r.version, r.encoded) for r in cache.read()] == [
        (r.type_url, r.name, r.version, r.encoded) for r in clusters(3)
    ]
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600


def test_a_secret_is_never_written() -> None:
    secret = Secret(name="default")
    secret.tls_certificate.private_key.inline_bytes = b"the private key"
    content = encode((*clusters(1), Resource.of(secret, "default")))
    assert b"the private key" not in content
    assert [r.name for r in decode(content)] == ["c0"]


def test_nothing_is_kept_at_first_and_after_forgetting(tmp_path: Path) -> None:
    cache = RelayCache(tmp_path / "u.xds")
    assert cache.read() == ()
    cache.write(clusters(1))
    cache.forget()
    cache.forget()
    assert cache.read() == ()


@pytest.mark.parametrize("cut", [0, 1, 20, 40, 60, -1])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, cut: int) -> None:
    cache = RelayCache(tmp_path / "u.xds")
    cache.write(clusters(3))
    cache.path.write_bytes(cache.path.read_bytes()[:cut])
    assert cache.read() == ()


def test_an_empty_configuration_can_be_kept(tmp_path: Path) -> None:
    cache = RelayCache(tmp_path / "u.xds")
    cache.write(())
    assert cache.read() == ()
