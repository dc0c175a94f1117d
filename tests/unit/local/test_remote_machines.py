"""The other machines as the API asks for them, and what banning one comes to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from tests.unit.citadel.rig import issue
from tests.unit.local.remote_rig import Port, served_port

from hauberk.api.pod import Pod
from hauberk.citadel.attestation import Caller
from hauberk.citadel.state import State, StateUnusable
from hauberk.local import remote_machines
from hauberk.local.remote_machines import ServedMachines
from hauberk.sources.change import Put
from hauberk.sources.store import Store

NOTHING = cast("Any", None)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "objects.db")
    for node in ("here", "n2"):
        document = {
            "metadata": {"name": f"on-{node}", "namespace": "shop"},
            "spec": {"serviceAccountName": "web", "nodeName": node, "containers": [{"name": "a", "command": ["x"]}]},
        }
        await opened.commit([Put(object=Pod.model_validate(document))])
    yield opened
    await opened.close()


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Port]:
    with served_port(tmp_path, monkeypatch) as opened:
        yield opened


async def test_a_ban_that_was_killed_in_the_middle_is_finished(
    tmp_path: Path, store: Store, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, pod = await port.join(), await issue(port.citadel, caller=Caller(node="n2"))
    ours = await issue(port.citadel, caller=Caller(node="here"))
    await port.machines.ban("n2", "stolen")
    write, tries = State.write, list[bool]()

    async def full_at_first(state: State, *writes: Any) -> None:
        tries.append(True)
        if len(tries) == 1:
            raise StateUnusable(tmp_path, "the disk is full", "free some space")
        await write(state, *writes)

    monkeypatch.setattr(State, "write", full_at_first)
    monkeypatch.setattr(remote_machines, "_AGAIN_SECONDS", 0.0)
    await ServedMachines(store, port.served, None).run(NOTHING, NOTHING, tmp_path)
    assert {pod.serial, agent.serial} <= port.citadel.trust.revoked.serials
    assert ours.serial not in port.citadel.trust.revoked.serials
    assert [each.spec.node_name for each in store.of(Pod)] == ["here"]
    assert len(tries) > 1


async def test_a_machine_is_shown_with_its_own_certificate_and_not_one_of_a_name_that_begins_so(store: Store, port: Port) -> None:
    first = await port.join("node-1")
    port.clock.pass_by(timedelta(minutes=1))
    second = await port.join("node-10")
    shown = ServedMachines(store, port.served, None).nodes()["nodes"]
    assert [each["certificate"]["serial"] for each in shown] == [first.serial, second.serial]
