"""The authority's database: made, brought up to date, shared with nobody, never half-written."""

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from hauberk.citadel.state import State, StateUnusable, Table, Write
from hauberk.citadel.state_tables import TABLES

NOTES = Table(name="notes", create=("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",))
LATER = Table(
    name="notes",
    version=3,
    create=("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, x INTEGER NOT NULL, y INTEGER NOT NULL) STRICT",),
    upgrades={
        1: ("ALTER TABLE notes ADD COLUMN x INTEGER NOT NULL DEFAULT 1",),
        2: ("ALTER TABLE notes ADD COLUMN y INTEGER NOT NULL DEFAULT 2",),
    },
)


def put(number: int, text: str = "a") -> Write:
    return Write("INSERT INTO notes (id, text) VALUES (?, ?)", [(number, text)])


def test_a_database_is_its_owners_alone(tmp_path: Path) -> None:
    State.open(tmp_path / "db", [NOTES]).close()
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o600


def test_what_was_committed_is_there_the_next_time(tmp_path: Path) -> None:
    state = State.open(tmp_path / "db", [NOTES])
    state.commit(put(1), put(2, "b"))
    state.close()
    state = State.open(tmp_path / "db", [NOTES])
    assert state.rows("SELECT id, text FROM notes WHERE id > ?", 0) == [(1, "a"), (2, "b")]
    state.close()


def test_all_writes_of_a_commit_are_made_or_none(tmp_path: Path) -> None:
    state = State.open(tmp_path / "db", [NOTES])
    with pytest.raises(StateUnusable):
        state.commit(put(1), put(1))
    state.commit(put(2))
    assert state.rows("SELECT id FROM notes") == [(2,)]
    state.close()


def test_a_table_that_a_part_has_added_is_made_in_a_database_that_is_there(tmp_path: Path) -> None:
    State.open(tmp_path / "db", []).close()
    state = State.open(tmp_path / "db", [NOTES])
    state.commit(put(1))
    state.close()


def test_an_older_table_is_brought_up_to_date_step_by_step(tmp_path: Path) -> None:
    state = State.open(tmp_path / "db", [NOTES])
    state.commit(put(1))
    state.close()
    for _ in range(2):
        state = State.open(tmp_path / "db", [LATER])
        assert state.rows("SELECT id, text, x, y FROM notes") == [(1, "a", 1, 2)]
        state.close()


def test_a_table_of_a_later_hauberk_is_left_alone(tmp_path: Path) -> None:
    State.open(tmp_path / "db", [LATER]).close()
    with pytest.raises(StateUnusable, match="table notes has version 3") as refused:
        State.open(tmp_path / "db", [NOTES])
    assert refused.value.hint == "use the Hauberk that wrote it"


def test_a_second_control_plane_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hauberk.citadel.state.PATIENCE", 0.01)
    state = State.open(tmp_path / "db", [NOTES])
    with pytest.raises(StateUnusable, match="another control plane"):
        State.open(tmp_path / "db", [NOTES])
    state.close()


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\x00" + b"\x00" * 5000])
def test_what_is_no_database_is_an_error_that_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "db").write_bytes(content)
    with pytest.raises(StateUnusable):
        State.open(tmp_path / "db", [NOTES])


def test_somebody_elses_database_is_not_touched(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "db")
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = (tmp_path / "db").read_bytes()
    with pytest.raises(StateUnusable, match="not a database of the certificate authority"):
        State.open(tmp_path / "db", [NOTES])
    assert (tmp_path / "db").read_bytes() == before


async def test_writes_from_the_event_loop_keep_their_order(tmp_path: Path) -> None:
    state = State.open(tmp_path / "db", [NOTES])
    await asyncio.gather(*(state.write(put(number)) for number in range(50)))
    assert [number for (number,) in state.rows("SELECT id FROM notes ORDER BY rowid")] == list(range(50))
    state.close()


async def test_a_write_whose_caller_gives_up_is_made_all_the_same(tmp_path: Path) -> None:
    state = State.open(tmp_path / "db", [NOTES])
    writing = asyncio.create_task(state.write(put(1)))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    state.close()
    state = State.open(tmp_path / "db", [NOTES])
    assert state.rows("SELECT id FROM notes") == [(1,)]
    state.close()


def test_every_table_of_the_authority_has_a_name_of_its_own(tmp_path: Path) -> None:
    assert len({table.name for table in TABLES}) == len(TABLES)
    State.open(tmp_path / "db", TABLES).close()
