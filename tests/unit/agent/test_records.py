"""The agent's records: read, kept, counted, followed; dropped rather than waited for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.telemetry.lines import FRONT, INBOUND, OUTBOUND, WEB, line

from hauberk.agent.records import Records
from hauberk.agent.sidecar_pod import PodRef
from hauberk.telemetry.decode import Owner
from hauberk.telemetry.store import Limits, RecordQuery


def pod(owner: Owner) -> PodRef:
    account = owner.identity.rpartition("/")[2]
    return PodRef(uid=owner.pod, namespace="shop", name=owner.pod, service_account=account, network=owner.pod, addresses=(owner.address,))


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Records]:
    made = Records(tmp_path / "records.db")
    for owner in (FRONT, WEB):
        (tmp_path / owner.pod).mkdir()
        made.follow(pod(owner), tmp_path / owner.pod / "access.log")
    yield made
    await made.close()


def write(tmp_path: Path, owner: Owner, *lines: bytes) -> None:
    with (tmp_path / owner.pod / "access.log").open("ab") as file:
        file.write(b"".join(text + b"\n" for text in lines))


async def test_what_sidecars_write_is_found(records: Records, tmp_path: Path) -> None:
    write(tmp_path, FRONT, line(OUTBOUND))
    write(tmp_path, WEB, line(INBOUND))
    await records.collect()
    found = await records.query(RecordQuery(request_id="req-1"))
    assert {record.reporter for record in found} == {"source", "destination"}
    assert all(record.source.identity == FRONT.identity for record in found)
    assert all(record.destination.pod == WEB.pod for record in found)
    assert (records.counts.kept, records.counts.dropped, records.counts.stored) == (2, 0, 2)


async def test_lines_are_read_as_they_are_written(records: Records, tmp_path: Path) -> None:
    running = asyncio.create_task(records.run())
    following = aiter(records.following(RecordQuery()))
    waiting = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    write(tmp_path, FRONT, line(OUTBOUND))
    assert (await asyncio.wait_for(waiting, 10)).request_id == "req-1"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_follower_gets_what_it_asked_for_and_nothing_from_before(records: Records, tmp_path: Path) -> None:
    write(tmp_path, WEB, line(INBOUND, r="before", s=403, x="rbac_access_denied_matched_policy[none]"))
    await records.collect()
    following = aiter(records.following(RecordQuery(denied=True, source="front", destination="web")))
    waiting = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    denied = line(INBOUND, r="denied", s=403, x="rbac_access_denied_matched_policy[none]")
    write(tmp_path, WEB, line(INBOUND, r="allowed"), denied)
    await records.collect()
    assert (await waiting).request_id == "denied"
    await following.aclose()  # type: ignore[attr-defined] # an async generator behind its interface
    assert not records._followers


async def test_what_cannot_be_read_is_counted_and_the_rest_goes_on(records: Records, tmp_path: Path) -> None:
    write(tmp_path, FRONT, b"nonsense", line(OUTBOUND), b"{}")
    await records.collect()
    assert (records.counts.kept, records.counts.dropped) == (1, 2)


async def test_another_agent_reads_every_line_once(tmp_path: Path) -> None:
    (tmp_path / FRONT.pod).mkdir()
    for number in range(3):
        records = Records(tmp_path / "records.db")
        records.follow(pod(FRONT), tmp_path / FRONT.pod / "access.log")
        write(tmp_path, FRONT, line(OUTBOUND, r=f"r{number}"))
        await records.collect()
        found = await records.query(RecordQuery())
        await records.close()
    assert [record.request_id for record in found] == ["r0", "r1", "r2"]


async def test_the_last_lines_of_a_pod_are_read_before_it_is_left(records: Records, tmp_path: Path) -> None:
    write(tmp_path, FRONT, line(OUTBOUND))
    await records.leave(FRONT.pod)
    await records.leave(FRONT.pod)
    assert records.counts.kept == 1
    write(tmp_path, FRONT, line(OUTBOUND))
    await records.collect()
    assert records.counts.kept == 1


async def test_a_full_disk_costs_records_and_nothing_else(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.db", limits=Limits())
    (tmp_path / FRONT.pod).mkdir()
    records.follow(pod(FRONT), tmp_path / FRONT.pod / "access.log")
    store = await records._work(records._opened)
    pages = store._pragma("page_count")
    store._connection.execute(f"PRAGMA max_page_count={pages + 2}")
    for _ in range(20):
        write(tmp_path, FRONT, *(line(OUTBOUND) for _ in range(20)))
        await records.collect()
    assert records.counts.dropped > 0
    store._connection.execute("PRAGMA max_page_count=1000000")
    kept = records.counts.kept
    write(tmp_path, FRONT, line(OUTBOUND))
    await records.collect()
    assert records.counts.kept == kept + 1
    await records.close()


async def test_a_large_file_is_set_aside_and_envoy_is_told(records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hauberk.agent.records.ROTATE_BYTES", 800)
    told: list[bytes] = []

    async def admin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        (tmp_path / FRONT.pod / "access.log").touch()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_unix_server(admin, tmp_path / FRONT.pod / "admin.sock"):
        write(tmp_path, FRONT, *(line(OUTBOUND) for _ in range(3)))
        await records.collect()
        write(tmp_path, FRONT, line(OUTBOUND))
        await records.collect()
    assert told[0] == b"POST /reopen_logs HTTP/1.1\r\n"
    assert records.counts.kept == 4
    assert not list((tmp_path / FRONT.pod).glob("*.1"))


async def test_the_edges_are_counted_on_the_way(records: Records, tmp_path: Path) -> None:
    write(tmp_path, FRONT, line(OUTBOUND))
    await records.collect()
    (edge,) = records._edges.edges(int(records._clock.monotonic()) + 1, 10)
    assert (edge.source, edge.destination) == ("front", "web")
