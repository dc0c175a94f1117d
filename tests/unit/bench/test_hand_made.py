import json
from pathlib import Path

import pytest
from bench import hand_made
from bench.hand_made import Credentials

Sides = dict[str, Credentials]


@pytest.fixture
def credentials(tmp_path: Path) -> Sides:
    return hand_made.make_credentials(tmp_path)


def test_both_sides_trust_the_root_of_this_run_and_hold_their_own_identity(credentials: Sides) -> None:
    client, server = credentials["client"], credentials["server"]
    assert client.root == server.root
    assert client.both.read_bytes() == client.certificate.read_bytes() + client.key.read_bytes()
    assert client.certificate.read_bytes() != server.certificate.read_bytes()


def test_the_pair_demands_mutual_tls_of_the_newest_version_and_speaks_http2(credentials: Sides) -> None:
    client = json.loads(hand_made.envoy_client(credentials["client"], "10.0.0.1"))["static_resources"]["clusters"][0]
    server = json.loads(hand_made.envoy_server(credentials["server"]))["static_resources"]["listeners"][0]["filter_chains"][0]
    socket = server["transport_socket"]["typed_config"]
    assert socket["require_client_certificate"] is True
    assert socket["common_tls_context"]["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_3"
    assert client["transport_socket"]["typed_config"]["common_tls_context"]["alpn_protocols"] == ["h2"]


def test_haproxy_meets_itself_where_nothing_is_captured(credentials: Sides) -> None:
    assert f"10.0.0.1:{hand_made.HAPROXY_PORT} ssl" in hand_made.haproxy_client(credentials["client"], "10.0.0.1")
    assert f"bind :{hand_made.HAPROXY_PORT} ssl" in hand_made.haproxy_server(credentials["server"])
