import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.apiserver.serving import Api, FakePilot, codes, serving
from tests.unit.apiserver.test_apply import config_map

from hauberk.apiserver import body
from hauberk.kit import unix_server
from hauberk.sources.problems import StoreUnwritable


async def test_other_users_are_turned_away_before_they_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as api:
        await api.apply(config_map("a"))
        monkeypatch.setattr(unix_server, "peer_uid", lambda _: 65534)
        status, answer = await api.request("POST", "/v1/delete", {"kind": "cm", "names": ["a"]})
        assert (status, codes(answer)) == (403, ["HBK0506"])
        monkeypatch.undo()
        assert await api.names("cm") == ["a"]


async def test_status_tells_of_the_control_plane_and_the_proxies(api: Api) -> None:
    status, answer = await api.request("GET", "/v1/status")
    assert status == 200
    assert (answer["controlPlane"]["ready"], answer["controlPlane"]["version"]) == (True, "1.2.3")
    assert answer["proxies"] == [{"pod": "web-1", "namespace": "default", "synced": True}]


async def test_readiness_is_pilots(tmp_path: Path) -> None:
    pilot = FakePilot(ready=False)
    async with serving(tmp_path, pilot=pilot) as api:
        assert await api.request("GET", "/v1/readyz") == (503, {"ready": False})
        pilot.ready = True
        assert await api.request("GET", "/v1/readyz") == (200, {"ready": True})


async def test_what_does_not_run_here_is_501(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for path in ("/v1/names", "/v1/ca/bundle"):
            assert (await api.request("GET", path))[0] == 501


async def test_a_body_that_is_too_large_is_read_to_its_end_and_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "LIMIT", 1000)
    status, answer = await api.apply(config_map("a", value="x" * 3_000_000))
    assert (status, codes(answer)) == (413, ["HBK0002"])
    assert await api.names("cm") == []


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'"x"', b"[" * 100_000, b"\xff\xfe"])
async def test_a_body_that_is_no_json_object_is_refused(api: Api, text: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(api.path))
    writer.write(b"POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"HBK0505" in answer


async def test_a_full_disk_is_507_and_the_mesh_goes_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreUnwritable("the disk is full", path=Path("objects.db"), hint="free some space")

    with monkeypatch.context() as patched:
        patched.setattr(api.store._database, "write", full)
        status, answer = await api.apply(config_map("a"))
        assert (status, codes(answer), answer["problems"][0]["remedy"]) == (507, ["HBK0508"], "free some space")
    assert (await api.apply(config_map("a")))[0] == 200


async def test_a_bug_is_told_and_the_next_request_is_answered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(api.store, "list", None)
        status, answer = await api.request("GET", "/v1/objects/pods")
        assert (status, codes(answer)) == (500, ["HBK0505"])
    assert (await api.request("GET", "/v1/objects/pods"))[0] == 200


async def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    unix_server.listen(tmp_path / "api.sock").close()
    async with serving(tmp_path) as api:
        assert await api.names("ns") == ["default", "istio-system"]
