"""The ring of records: what is kept, what is found, what is forgotten."""

import sqlite3
import stat
from pathlib import Path

import pytest
from tests.unit.telemetry.lines import INBOUND, OUTBOUND, decoded

from hauberk.telemetry.block import hash_request_id
from hauberk.telemetry.entry import Between, Entry
from hauberk.telemetry.record import Party
from hauberk.telemetry.store import Limits, Position, RecordQuery, RecordStore, party_matches, workload_of

SECOND = 1_000_000


def entry(number: int, *, source: str = "a", destination: str = "b", denied: bool = False, size: int = 10) -> Entry:
    between = Between(source=Party(pod=source, namespace="ns"), destination=Party(pod=destination, namespace="ns"))
    name = b"id-%d" % number
    return Entry(between, number * SECOND, denied, False, 0, name, b"%d %s " % (number, name) + b"x" * size)


def numbers(store: RecordStore, query: RecordQuery | None = None) -> list[int]:
    return [int(kept.line.split()[0]) for kept in store.query(query or RecordQuery(limit=10_000))]


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore.open(tmp_path / "records.db")


def test_what_was_appended_is_found_oldest_first(store: RecordStore) -> None:
    store.append([entry(2), entry(1), entry(3)])
    assert numbers(store) == [1, 2, 3]


def test_the_newest_are_meant_when_there_are_more_than_wanted(store: RecordStore) -> None:
    store.append([entry(number) for number in range(10)])
    assert numbers(store, RecordQuery(limit=3)) == [7, 8, 9]


def test_each_condition_selects(store: RecordStore) -> None:
    store.append([entry(1), entry(2, source="c"), entry(3, destination="d", denied=True), entry(4, source="c", destination="d")])
    assert numbers(store, RecordQuery(source="c")) == [2, 4]
    assert numbers(store, RecordQuery(destination="d")) == [3, 4]
    assert numbers(store, RecordQuery(source="c", destination="d")) == [4]
    assert numbers(store, RecordQuery(denied=True)) == [3]
    assert numbers(store, RecordQuery(since=3 * SECOND)) == [3, 4]
    assert numbers(store, RecordQuery(request_id="id-2")) == [2]
    assert numbers(store, RecordQuery(source="nobody")) == []
    assert numbers(store, RecordQuery(source="a", denied=True, since=0, request_id="id-3")) == [3]


def test_the_parties_come_back_with_the_line(store: RecordStore) -> None:
    made = decoded(OUTBOUND)
    store.append([made])
    (kept,) = store.query(RecordQuery())
    assert (kept.source, kept.destination, kept.line) == (made.between.source, made.between.destination, made.line)


def test_what_many_lines_begin_with_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    store = RecordStore.open(path)
    lines = [decoded(OUTBOUND, r=f"id-{number}") for number in range(1000)]
    store.append(lines)
    assert store.disk_bytes() < sum(len(each.line) for each in lines) * 0.75
    store.close()
    again = RecordStore.open(path)
    again.append([decoded(OUTBOUND, r="again")])
    assert [kept.line for kept in again.query(RecordQuery(limit=2000))] == [
        *(each.line for each in lines),
        decoded(OUTBOUND, r="again").line,
    ]
    assert len(again._numbers) == 1


def test_another_request_whose_id_has_the_same_hash_is_not_found(store: RecordStore) -> None:
    assert hash_request_id(b"plumless") == hash_request_id(b"buckeroo")
    store.append([decoded(OUTBOUND, r="plumless")])
    assert len(store.query(RecordQuery(request_id="plumless"))) == 1
    assert store.query(RecordQuery(request_id="buckeroo")) == []


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    first = RecordStore.open(path)
    first.append([entry(1), entry(2)], [Position("file", 7, 99)])
    first.close()
    second = RecordStore.open(path)
    assert (second.count, second.position("file")) == (2, Position("file", 7, 99))
    second.append([entry(3)])
    assert numbers(second) == [1, 2, 3]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_last_so_many_are_kept_and_no_more_than_a_fiftieth_beyond(tmp_path: Path) -> None:
    store = RecordStore.open(tmp_path / "r.db", Limits(records=100))
    for number in range(1000):
        store.append([entry(number)])
        assert store.count <= 102
    assert numbers(store)[-100:] == list(range(900, 1000))


def test_the_disk_is_bounded_too(tmp_path: Path) -> None:
    limit = 1 << 20
    store = RecordStore.open(tmp_path / "r.db", Limits(disk_bytes=limit))
    for number in range(400):
        store.append([entry(number * 10 + offset, size=2000) for offset in range(10)])
    assert store.disk_bytes() <= limit * 1.1
    assert numbers(store)[-1] == 3999
    assert (tmp_path / "r.db").stat().st_size <= limit * 1.3


def test_strangers_of_ever_new_addresses_are_no_longer_told_apart(tmp_path: Path) -> None:
    store = RecordStore.open(tmp_path / "r.db", Limits(records=1000, parties=20))
    for number in range(200):
        between = Between(source=Party(address=f"10.0.0.{number}"), destination=Party(pod="web"), head=b"head %d" % number)
        store.append([Entry(between, number, False, False, 0, b"", b"%d" % number)])
    assert len(store._numbers) <= 21
    found = store.query(RecordQuery(destination="web"))
    assert [kept.line for kept in found] == [b"head %d\x1e%d" % (number, number) for number in range(200)]


def test_parties_that_no_record_names_are_forgotten(tmp_path: Path) -> None:
    store = RecordStore.open(tmp_path / "r.db", Limits(records=10, parties=40))
    for number in range(200):
        store.append([entry(number, source=f"pod{number}")])
    assert len(store._numbers) < 40
    assert numbers(store, RecordQuery(source="pod199")) == [199]


def test_a_failed_append_keeps_nothing_of_it(store: RecordStore) -> None:
    store.append([entry(1)])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(sqlite3.Error):
        store.append([entry(number, source=f"new-{number}", size=100_000) for number in range(5)], [Position("file", 1, 2)])
    assert (store.count, numbers(store), store.position("file")) == (1, [1], None)
    store._connection.execute("PRAGMA max_page_count=1000000")
    store.append([entry(5, source="new-1")])
    assert numbers(store, RecordQuery(source="new-1")) == [5]


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look at" * 50, b""])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.db").write_bytes(content)
    store = RecordStore.open(tmp_path / "r.db")
    store.append([entry(1)])
    assert numbers(store) == [1]


def test_a_file_of_another_version_is_begun_anew(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "r.db")
    connection.executescript("CREATE TABLE x(y); PRAGMA user_version=99;")
    connection.close()
    assert RecordStore.open(tmp_path / "r.db").count == 0


@pytest.mark.parametrize(
    "name",
    [
        "web-6c8d9f7b5a-bbbb2",
        "web-6c8d9f7b5a-bbbb2.shop",
        "web",
        "web.shop",
        "shop/web",
        "web.shop.svc.cluster.local",
        "10.244.0.7",
        "spiffe://cluster.local/ns/shop/sa/web",
    ],
)
def test_a_person_may_name_a_party_in_many_ways(name: str) -> None:
    assert party_matches(decoded(INBOUND).between.destination, name)


@pytest.mark.parametrize("name", ["", "we", "shop", "web.other", "other/web", "front", "/", "."])
def test_other_names_do_not_match(name: str) -> None:
    assert not party_matches(decoded(INBOUND).between.destination, name)


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("web-6c8d9f7b5a-x2x4z", "web"),
        ("load-generator-6c8d9f7b5a-x2x4z", "load-generator"),
        ("load-generator-abcde", "load-generator-abcde"),
        ("web", "web"),
    ],
)
def test_a_pods_name_shows_its_deployment(pod: str, workload: str) -> None:
    assert workload_of(pod) == workload


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (RecordQuery(), "blocks_newest"),
        (RecordQuery(since=SECOND, source="a"), "blocks_newest"),
        (RecordQuery(denied=True), "blocks_denied"),
        (RecordQuery(request_id="x"), "blocks_newest"),
    ],
)
def test_blocks_are_read_from_the_newest_on(store: RecordStore, query: RecordQuery, index: str) -> None:
    store.append([entry(1, denied=True)])
    plans: list[str] = []
    store._connection.set_trace_callback(plans.append)
    store.query(query)
    store._connection.set_trace_callback(None)
    plan = store._connection.execute(f"EXPLAIN QUERY PLAN {plans[0]}").fetchall()
    assert any(index in row[3] for row in plan), plan


def test_the_newest_are_found_whichever_block_they_came_in(store: RecordStore) -> None:
    for numbers_of_block in ([9, 1], [8, 2], [3, 10], [4, 5]):
        store.append([entry(number, size=40_000) for number in numbers_of_block])
    assert numbers(store, RecordQuery(limit=3)) == [8, 9, 10]
    assert numbers(store) == [1, 2, 3, 4, 5, 8, 9, 10]


def test_what_comes_one_by_one_shares_a_block_until_it_is_large(store: RecordStore) -> None:
    for number in range(100):
        store.append([entry(number, size=1000)])
    (blocks,) = store._connection.execute("SELECT count(*) FROM blocks").fetchone()
    assert 2 <= blocks <= 5
    assert numbers(store, RecordQuery(request_id="id-37")) == [37]
    assert numbers(store) == list(range(100))
