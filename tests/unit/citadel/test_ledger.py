"""Events become lines of one file that is only appended to."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from hauberk.citadel.ledger import Ledger
from hauberk.identity.event import Event, EventKind


def event(subject: str = "x") -> Event:
    return Event(time=datetime(2026, 3, 1, tzinfo=UTC), kind=EventKind.ISSUED, subject=subject, outcome="issued")


def subjects(path: Path) -> list[str]:
    return [json.loads(line)["subject"] for line in path.read_text().splitlines()]


def test_what_was_recorded_is_written_in_order_by_the_next_flush(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "audit" / "identity.jsonl")
    for name in "abc":
        ledger.record(event(name))
    assert ledger.pending
    ledger.flush()
    assert not ledger.pending
    assert subjects(tmp_path / "audit" / "identity.jsonl") == ["a", "b", "c"]


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "audit" / "l")
    ledger.record(event())
    ledger.flush()
    assert stat.S_IMODE((tmp_path / "audit" / "l").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    for name in "ab":
        ledger = Ledger(tmp_path / "l")
        ledger.record(event(name))
        ledger.flush()
    assert subjects(tmp_path / "l") == ["a", "b"]


def test_a_file_that_has_grown_too_large_is_set_aside(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l", size=10)
    for number in range(12):
        ledger.record(event(str(number)))
        ledger.flush()
    # The newest is `.1`; of the oldest, more than are kept have gone.
    assert subjects(tmp_path / "l.1") == ["11"]
    assert subjects(tmp_path / "l.8") == ["4"]
    assert not (tmp_path / "l.9").exists()


def test_while_the_disk_is_full_events_wait_and_no_line_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    ledger = Ledger(tmp_path / "l")
    ledger.record(event("a"))
    with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
        patched.setattr(os, "open", full)
        ledger.flush()
    assert logs[0]["event"] == "identity events could not be written"
    ledger.record(event("b"))
    ledger.flush()
    assert subjects(tmp_path / "l") == ["a", "b"]


def test_while_the_disk_is_full_no_more_waits_than_there_is_room_for(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()  # nothing can be written there
    ledger = Ledger(tmp_path / "l", waiting=1000)
    for number in range(100):
        ledger.record(event(str(number)))
        ledger.flush()
    (tmp_path / "l").rmdir()
    with structlog.testing.capture_logs() as logs:
        ledger.flush()
    kept = subjects(tmp_path / "l")
    assert kept == [str(number) for number in range(100 - len(kept), 100)]
    assert 0 < (tmp_path / "l").stat().st_size <= 1000
    assert [each["number"] for each in logs] == [100 - len(kept)]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to(tmp_path / "elsewhere")
    ledger = Ledger(tmp_path / "l")
    ledger.record(event())
    ledger.flush()
    assert ledger.pending
    assert not (tmp_path / "elsewhere").exists()
