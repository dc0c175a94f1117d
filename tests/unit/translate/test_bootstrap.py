from __future__ import annotations

import json
from pathlib import Path

from hauberk.translate.bootstrap import BootstrapInputs, build_bootstrap, envoy_command

INPUTS = BootstrapInputs(namespace="shop", name="web-1", address="10.244.0.2", xds_socket=Path("xds.sock"), admin_socket=Path("admin.sock"))


def test_the_node_is_named_as_istio_names_it() -> None:
    assert INPUTS.node_id == "sidecar~10.244.0.2~web-1.shop~shop.svc.cluster.local"
    assert json.loads(build_bootstrap(INPUTS))["node"]["id"] == INPUTS.node_id


def test_the_admin_interface_is_a_socket_that_only_its_owner_opens() -> None:
    assert json.loads(build_bootstrap(INPUTS))["admin"]["address"] == {"pipe": {"path": "admin.sock", "mode": 0o600}}


def test_what_envoy_sends_carries_the_mark_but_its_way_to_the_agent_does_not() -> None:
    bootstrap = json.loads(build_bootstrap(INPUTS))
    (option,) = bootstrap["cluster_manager"]["upstream_bind_config"]["socket_options"]
    assert (option["name"], option["int_value"]) == ("36", "1337")
    (xds,) = bootstrap["static_resources"]["clusters"]
    assert xds["upstream_bind_config"] == {}


def test_the_bootstrap_is_the_same_bytes_every_time() -> None:
    assert build_bootstrap(INPUTS) == build_bootstrap(INPUTS)


def test_the_command_holds_the_whole_configuration() -> None:
    command = envoy_command(Path("/x/envoy"), build_bootstrap(INPUTS), concurrency=2)
    assert command[0] == "/x/envoy"
    assert json.loads(command[command.index("--config-yaml") + 1])["node"]["cluster"] == "web-1.shop"
    assert command[command.index("--concurrency") + 1] == "2"
    assert "--disable-hot-restart" in command
