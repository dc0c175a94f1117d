"""`hauberk audit` on a log that no mesh writes any more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.audit.signing import new_key

from hauberk.audit.log import AuditLog
from hauberk.cli.main import main

_NOW = datetime.now(UTC)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the mesh's log, in which three things happened."""
    monkeypatch.setenv("HAUBERK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HAUBERK_RUN_DIR", str(tmp_path / "run"))
    directory = tmp_path / "state" / "default" / "audit"
    kinds = {"certificate-issued": 120, "certificate-refused": 60, "revoked": 1}
    with AuditLog(directory, new_key(), origin="hauberk/test") as opened:
        for kind, minutes in kinds.items():
            time = (_NOW - timedelta(minutes=minutes)).isoformat()
            opened.append([json.dumps({"time": time, "kind": kind, "subject": "web\x1b[31m", "outcome": "x"}).encode()])
    return directory


def _out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["audit", *arguments]) == code
    return capsys.readouterr().out


def test_the_latest_records_are_shown_and_cannot_move_the_cursor(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _out(capsys).splitlines()
    assert [line.split()[0] for line in lines] == ["NUMBER", "0", "1", "2"]
    assert "web\\x1b[31m" in lines[1]


def test_records_are_chosen_by_age_and_kind(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    since = json.loads(_out(capsys, "--since", "90m", "-o", "json"))["records"]
    assert [each["number"] for each in since] == [1, 2]
    kinds = json.loads(_out(capsys, "--kind", "revoked", "--kind", "certificate-issued", "-o", "json"))["records"]
    assert [each["number"] for each in kinds] == [0, 2]
    assert len(json.loads(_out(capsys, "--limit", "1", "-o", "json"))["records"]) == 1


def test_a_whole_log_is_told_from_one_that_was_changed(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _out(capsys, "verify") == "the log is whole: 3 records\n"
    path = log / "records" / "000000000000.jsonl"
    path.write_bytes(path.read_bytes().replace(b"revoked", b"issued!"))
    told = _out(capsys, "verify", code=1)
    assert "record 2 (000000000000.jsonl, line 3) is not what was written" in told
    assert "the log is NOT whole" in told


def test_a_head_that_was_kept_finds_an_end_that_was_cut_off(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = tmp_path / "head.txt"
    head.write_text(_out(capsys, "head"))
    assert _out(capsys, "verify", "--anchor", str(head)) == "the log is whole: 3 records; it contains 1 older head\n"
    with AuditLog(tmp_path / "other", new_key(), origin="hauberk/test") as other:
        other.append([b"{}"])
    found = json.loads(_out(capsys, "verify", "--log", str(tmp_path / "other"), "--anchor", str(head), "-o", "json", code=1))
    assert found["faults"] == ["an anchor cannot be believed: it is not signed by the log's key"]


def test_one_record_is_proven_to_somebody_who_has_the_key_alone(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof = tmp_path / "proof.json"
    proof.write_text(_out(capsys, "prove", "1"))
    told = _out(capsys, "verify", "--proof", str(proof), "--key", str(log / "public-key.pem"))
    assert told.startswith('in the log: {"time":') and "certificate-refused" in told
    proof.write_text(proof.read_text().replace("refused", "issued"))
    assert main(["audit", "verify", "--proof", str(proof)]) == 1
    assert main(["audit", "prove", "3"]) == 1
    assert "the log has no record 3" in capsys.readouterr().err


def test_records_are_exported_from_where_the_last_export_ended(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in _out(capsys, "export", "--from", "1").splitlines()]
    assert [(each["number"], each["kind"]) for each in lines] == [(1, "certificate-refused"), (2, "revoked")]


def test_where_there_is_no_log_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--log", str(tmp_path)]) == 1
    assert "there is no audit log" in capsys.readouterr().err
