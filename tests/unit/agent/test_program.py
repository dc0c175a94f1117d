"""What the launcher is asked to run."""

from typing import Any

import pytest
from tests.unit.agent.pod_objects import pod

from hauberk.agent.environment import Surroundings
from hauberk.agent.program import WORKING_DIRECTORY, Ground, NotRunnable, build_program
from hauberk.linux.process import ProcessSpec

AROUND = Surroundings(addresses=("10.244.0.2", "fd00:10:244::2"), node="box", home="/")


def program(
    container: dict[str, Any] | None = None, *, rootless: bool = False, metadata: dict[str, Any] | None = None, **spec: Any
) -> ProcessSpec:
    made = pod({"name": "main", "command": ["serve"], **(container or {})}, metadata=metadata, **spec)
    return build_program(
        made, made.spec.containers[0], AROUND, Ground(nameservers=("10.244.0.1",), rootless=rootless, sockets="/run/m/ids/1")
    )


def test_a_program_runs_in_its_pods_network_without_privileges() -> None:
    made = program()
    assert (made.network, made.capabilities, made.no_new_privs, made.uid) == ("11111111-2222", (), True, None)


def test_a_container_without_a_command_is_told_so() -> None:
    with pytest.raises(NotRunnable, match="set `command`") as caught:
        program({"command": []})
    assert caught.value.reason == "CommandMissing"


def test_the_working_directory_is_the_containers_or_the_one_the_pod_was_made_in() -> None:
    recorded = {"annotations": {WORKING_DIRECTORY: "/src"}}
    assert program().cwd == "/"
    assert program(metadata=recorded).cwd == "/src"
    assert program({"workingDir": "/own"}, metadata=recorded).cwd == "/own"


def test_a_containers_user_wins_over_the_pods() -> None:
    pods = {"runAsUser": 7, "runAsGroup": 8, "supplementalGroups": [9]}
    assert program(securityContext=pods).uid == 7
    made = program({"securityContext": {"runAsUser": 5, "capabilities": {"add": ["NET_RAW"]}}}, securityContext=pods)
    assert (made.uid, made.gid, made.groups, made.capabilities) == (5, 8, (9,), ("NET_RAW",))


def test_run_as_non_root_refuses_root_and_nobody_else() -> None:
    with pytest.raises(NotRunnable, match="runAsNonRoot"):
        program(securityContext={"runAsNonRoot": True})
    assert program(securityContext={"runAsNonRoot": True, "runAsUser": 5}).uid == 5
    assert program(securityContext={"runAsNonRoot": True}, rootless=True).uid is None


def test_no_program_runs_as_the_sidecars_user() -> None:
    with pytest.raises(NotRunnable, match="1337"):
        program({"securityContext": {"runAsUser": 1337}})


def test_short_names_are_completed_in_the_pods_own_namespace_first() -> None:
    view = program().container
    assert view is not None
    assert view.resolv_conf.splitlines() == [
        "nameserver 10.244.0.1",
        "search shop.svc.cluster.local svc.cluster.local cluster.local",
        "options ndots:5",
    ]


def test_the_pod_knows_its_own_name_without_a_name_server() -> None:
    view = program(hostname="db-0", subdomain="db").container
    assert view is not None
    assert view.hostname == "db-0"
    assert "10.244.0.2 db-0.db.shop.svc.cluster.local db-0" in view.hosts.splitlines()
    assert "127.0.0.1 localhost" in view.hosts.splitlines()
