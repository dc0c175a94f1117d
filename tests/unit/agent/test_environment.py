"""A container's variables."""

from typing import Any

import pytest
from tests.unit.agent.pod_objects import pod

from hauberk.agent.environment import (
    ReferenceBroken,
    Surroundings,
    build_argv,
    build_environment,
    expand,
    inherited_environment,
    referenced_config_maps,
)

AROUND = Surroundings(addresses=("10.244.0.2", "fd00:10:244::2"), node="box", home="/home/jo", inherited={"PATH": "/bin"})


def environment(*env: dict[str, Any], around: Surroundings = AROUND, **metadata: Any) -> dict[str, str]:
    made = pod({"name": "main", "command": ["serve"], "env": list(env)}, metadata=metadata, serviceAccountName="web")
    return build_environment(made, made.spec.containers[0], around)


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def from_map(*, optional: bool = False, key: str = "level") -> dict[str, Any]:
    return {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "log", "key": key, "optional": optional}}}


def test_every_program_has_a_path_a_home_and_a_host_name() -> None:
    assert environment() == {
        "PATH": "/bin",
        "HOME": "/home/jo",
        "HOSTNAME": "web-1",
        "SPIFFE_ENDPOINT_SOCKET": "unix:///run/spiffe/api.sock",
    }


def test_a_program_that_has_a_workload_api_of_its_own_keeps_it() -> None:
    assert environment({"name": "SPIFFE_ENDPOINT_SOCKET", "value": "tcp://127.0.0.1:80"})["SPIFFE_ENDPOINT_SOCKET"] == "tcp://127.0.0.1:80"


def test_nothing_else_of_the_agents_own_environment_gets_through() -> None:
    assert inherited_environment({"PATH": "/x", "AWS_SECRET": "s", "LANG": "C"}) == {"PATH": "/x", "LANG": "C"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "11111111-2222"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['absent']", ""),
        ("spec.nodeName", "box"),
        ("spec.serviceAccountName", "web"),
        ("status.podIP", "10.244.0.2"),
        ("status.podIPs", "10.244.0.2,fd00:10:244::2"),
        ("status.hostIP", "10.244.0.1"),
    ],
)
def test_fields_of_the_pod_become_variables(path: str, value: str) -> None:
    assert environment(field("X", path), labels={"app": "web"})["X"] == value


def test_a_variable_may_use_those_before_it() -> None:
    found = environment({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)$$(A)"}, {"name": "C", "value": "3"})
    assert found["B"] == "1$(C)$(A)"


def test_the_command_line_uses_variables() -> None:
    made = pod({"name": "main", "command": ["serve", "$(PORT)"], "args": ["$(NONE)"]})
    assert build_argv(made.spec.containers[0], {"PORT": "80"}) == ("serve", "80", "$(NONE)")


def test_a_double_dollar_is_one() -> None:
    assert expand("$$5 $x $(", {}) == "$5 $x $("


def test_a_config_map_gives_its_value() -> None:
    around = Surroundings(addresses=("10.244.0.2",), node="box", home="/", config_maps={"log": {"level": "debug"}})
    assert environment(from_map(), around=around)["LEVEL"] == "debug"


@pytest.mark.parametrize("maps", [{"log": None}, {"log": {}}])
def test_a_missing_config_map_or_key_is_said_unless_it_is_optional(maps: dict[str, dict[str, str] | None]) -> None:
    around = Surroundings(addresses=("10.244.0.2",), node="box", home="/", config_maps=maps)
    assert "LEVEL" not in environment(from_map(optional=True), around=around)
    with pytest.raises(ReferenceBroken, match="ConfigMap shop/log"):
        environment(from_map(), around=around)


def test_the_config_maps_to_read_are_known_beforehand() -> None:
    made = pod({"name": "main", "command": ["serve"], "env": [from_map(), field("X", "metadata.name")]})
    assert referenced_config_maps(made.spec.containers[0]) == {"log"}
