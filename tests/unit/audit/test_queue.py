"""What waits to be written, and logs that were damaged."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.unit.audit.signing import new_key

from hauberk.audit.log import AuditLog
from hauberk.audit.opening import open_log
from hauberk.audit.queue import AuditQueue
from hauberk.audit.verify import verify

_KEY = new_key()
_NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _queue(directory: Path, waiting: int = 1 << 20) -> AuditQueue:
    return AuditQueue(AuditLog(directory, _KEY, origin="hauberk/test"), waiting=waiting)


def _records(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "records" / "000000000000.jsonl").read_text().splitlines()]


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_while_the_disk_is_full_records_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = _queue(tmp_path)
    queue.record({"number": 1})
    with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
        patched.setattr(os, "fdatasync", _full)
        queue.flush()
    assert logs[0]["event"] == "audit records could not be written" and queue.pending
    queue.record({"number": 2})
    queue.close()
    assert _records(tmp_path) == [{"number": 1}, {"number": 2}]


def test_no_more_waits_than_there_is_room_for_and_the_loss_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = _queue(tmp_path, waiting=100)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _full)
        for number in range(100):
            queue.record({"number": number})
            queue.flush()
    with structlog.testing.capture_logs() as logs:
        queue.close()
    kept = [record["number"] for record in _records(tmp_path)]
    assert kept == list(range(100 - len(kept), 100))
    assert [each["number"] for each in logs] == [100 - len(kept)]


def test_a_record_that_is_too_long_says_what_it_was(tmp_path: Path) -> None:
    queue = _queue(tmp_path)
    queue.record({"kind": "object-changed", "difference": "x" * 100_000})
    queue.close()
    (record,) = _records(tmp_path)
    assert record == {"kind": "object-changed", "cut": 100_041}


def test_a_damaged_log_is_kept_beside_and_the_new_one_says_so(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    queue = _queue(directory)
    queue.record({"number": 1})
    queue.close()
    anchor = (directory / "checkpoint").read_text()
    (directory / "records" / "000000000000.jsonl").unlink()
    with structlog.testing.capture_logs() as logs:
        log = open_log(directory, _KEY, origin="hauberk/test", now=_NOW)
    log.close()
    assert logs[0]["event"] == "the audit log is damaged; another one was begun"
    assert (tmp_path / "audit.damaged-20260301T000000Z" / "hashes" / "0").exists()
    assert _records(directory)[0]["kind"] == "audit-log-replaced"
    assert verify(log.files, _KEY.public_key).whole
    assert not verify(log.files, _KEY.public_key, (anchor,)).whole


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "records" / "000000000000.jsonl").symlink_to(tmp_path / "elsewhere")
    queue = _queue(tmp_path)
    queue.record({"number": 1})
    queue.close()
    assert queue.pending and (tmp_path / "elsewhere").read_bytes() == b""
