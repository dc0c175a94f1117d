"""The writer and the verifier of an audit log, on a real directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.audit.signing import new_key

from hauberk.audit import merkle
from hauberk.audit.files import LogFiles, read_record
from hauberk.audit.log import AuditLog, AuditLogBusy, AuditLogDamaged
from hauberk.audit.verify import verify

_KEY = new_key()


def _open(directory: Path, *, segment_bytes: int = 4096, kept_bytes: int = 1 << 30) -> AuditLog:
    return AuditLog(directory, _KEY, origin="hauberk/test", segment_bytes=segment_bytes, kept_bytes=kept_bytes)


def _records(begin: int, end: int) -> list[bytes]:
    return [f'{{"number":{number}}}'.encode() for number in range(begin, end)]


def _filled(directory: Path, size: int = 700, *, kept_bytes: int = 1 << 30) -> LogFiles:
    with _open(directory, kept_bytes=kept_bytes) as log:
        for begin in range(0, size, 37):
            log.append(_records(begin, min(begin + 37, size)))
        return log.files


def _faults(files: LogFiles, *anchors: str) -> tuple[str, ...]:
    return verify(files, _KEY.public_key, anchors).faults


def test_what_was_appended_is_whole_and_stands_under_the_root_of_all_records(tmp_path: Path) -> None:
    files = _filled(tmp_path)
    found = verify(files, _KEY.public_key)
    assert (found.size, found.first, found.faults) == (700, 0, ())
    assert found.root == merkle.root_of_leaves(map(merkle.leaf_hash, _records(0, 700)))
    assert len(files.segments()) > 2


def test_a_log_without_records_is_whole_too(tmp_path: Path) -> None:
    files = _filled(tmp_path, 0)
    assert verify(files, _KEY.public_key).whole
    with _open(tmp_path) as log:
        log.append(_records(0, 1))
    assert verify(files, _KEY.public_key, (files.checkpoint.read_text(),)).whole


def test_it_goes_on_where_it_was_closed(tmp_path: Path) -> None:
    _filled(tmp_path, 300)
    with _open(tmp_path) as log:
        assert log.append(_records(300, 700)) == range(300, 700)
        assert log.checkpoint.root == merkle.root_of_leaves(map(merkle.leaf_hash, _records(0, 700)))
    assert _faults(LogFiles(tmp_path)) == ()


def test_records_are_found_and_proven_by_their_number(tmp_path: Path) -> None:
    files = _filled(tmp_path)
    root = verify(files, _KEY.public_key).root
    for number in (0, 255, 256, 511, 699):
        record = read_record(files, number)
        assert record == _records(number, number + 1)[0]
        proof = merkle.inclusion_proof(number, 700, files.nodes)
        assert merkle.proves_inclusion(merkle.leaf_hash(record), number, 700, proof, root)
    assert read_record(files, 700) is None


def _altered(files: LogFiles) -> None:
    path = files.segments()[1].path
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))


def _removed(files: LogFiles) -> None:
    path = files.segments()[0].path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[6:]))


def _reordered(files: LogFiles) -> None:
    path = files.segments()[0].path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))


def _truncated(files: LogFiles) -> None:
    path = files.segments()[-1].path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _without_a_file(files: LogFiles) -> None:
    files.segments()[1].path.unlink()


def _with_other_hashes(files: LogFiles) -> None:
    path = files.level(0)
    path.write_bytes(bytes(32) + path.read_bytes()[32:])


@pytest.mark.parametrize("change", [_altered, _removed, _reordered, _truncated, _without_a_file, _with_other_hashes])
def test_every_change_is_found(tmp_path: Path, change: Callable[[LogFiles], None]) -> None:
    files = _filled(tmp_path)
    change(files)
    assert _faults(files)


def test_a_change_that_also_mends_the_hashes_does_not_fit_the_head(tmp_path: Path) -> None:
    files = _filled(tmp_path)
    _altered(files)
    files.level(0).write_bytes(b"".join(merkle.leaf_hash(line) for segment in files.segments() for line in segment.lines()))
    assert _faults(files) == ("the first 700 records are not those under the newest checkpoint",)


def test_who_has_the_key_and_cuts_the_end_off_is_found_by_an_anchor(tmp_path: Path) -> None:
    files = _filled(tmp_path / "log")
    anchor = files.checkpoint.read_text()
    shorter = _filled(tmp_path / "shorter", 699)
    assert _faults(shorter) == ()
    assert _faults(shorter, anchor) == ("the anchor stands for 700 records, the log has 699: its end was cut off",)


def test_who_has_the_key_and_rewrites_everything_is_found_by_an_anchor(tmp_path: Path) -> None:
    anchor = _filled(tmp_path / "log", 300).checkpoint.read_text()
    with _open(tmp_path / "rewritten") as log:
        log.append([b"{}", *_records(1, 700)])
    assert _faults(log.files) == ()
    assert _faults(log.files, anchor) == ("the first 300 records are not those under the anchor at 300",)


def test_an_older_head_is_no_fault_and_a_foreign_one_is(tmp_path: Path) -> None:
    older = _filled(tmp_path, 300).checkpoint.read_text()
    with _open(tmp_path) as log:
        log.append(_records(300, 700))
    assert _faults(log.files, older) == ()
    assert _faults(log.files, older.replace("300", "299")) != ()


def test_records_that_are_no_longer_kept_leave_the_others_provable(tmp_path: Path) -> None:
    files = _filled(tmp_path, kept_bytes=8192)
    found = verify(files, _KEY.public_key)
    assert found.whole and 0 < found.first < 700
    assert read_record(files, 0) is None
    proof = merkle.inclusion_proof(0, 700, files.nodes)
    assert merkle.proves_inclusion(merkle.leaf_hash(_records(0, 1)[0]), 0, 700, proof, found.root)


@pytest.mark.parametrize("torn", [b"", b'{"number":3', b'{"number":300}\n', b'{"number":300}\n{"num'])
def test_what_was_written_and_not_acknowledged_is_whole_or_cut_off(tmp_path: Path, torn: bytes) -> None:
    files = _filled(tmp_path, 300)
    with files.segments()[-1].path.open("ab") as file:
        file.write(torn)
    with files.level(0).open("ab") as file:
        file.write(b"half a hash")
    with _open(tmp_path) as log:
        assert log.size == 300 + torn.count(b"\n")
        log.append(_records(log.size, 400))
    assert _faults(files) == ()


def test_a_log_that_lost_records_is_not_gone_on_with(tmp_path: Path) -> None:
    files = _filled(tmp_path / "shorter")
    _truncated(files)
    with pytest.raises(AuditLogDamaged, match="699 are there"):
        _open(files.directory)
    files = _filled(tmp_path / "without-head")
    files.checkpoint.unlink()
    with pytest.raises(AuditLogDamaged, match="no checkpoint"):
        _open(files.directory)


def test_a_full_disk_loses_nothing_that_was_there_and_keeps_nothing_halfway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _filled(tmp_path, 300)
    with _open(tmp_path) as log:
        for number in (1, 2, 3):
            with monkeypatch.context() as patch:
                patch.setattr(os, "fdatasync", _full_at(number))
                with pytest.raises(OSError, match="no space"):
                    log.append([b'{"lost":true}'])
            assert _faults(log.files) == () and log.size == 300
        log.append(_records(300, 700))
    assert _faults(log.files) == ()


def test_on_a_full_disk_a_log_is_opened_as_far_as_it_was_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _filled(tmp_path, 300)
    with files.segments()[-1].path.open("ab") as file:
        file.write(b'{"number":300}\n')
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", _full_at(1))
        with _open(tmp_path) as log:
            assert log.size == 300
            log.append(_records(300, 700))
    assert _faults(files) == ()


def _full_at(number: int) -> Callable[[int], None]:
    """The disk is full when it is told for the `number`th time to keep something."""
    calls = iter(range(1, 100))
    keep = os.fdatasync

    def sync(descriptor: int) -> None:
        if next(calls) == number:
            raise OSError(28, "no space left on device")
        keep(descriptor)

    return sync


def test_two_processes_cannot_write_one_log(tmp_path: Path) -> None:
    with _open(tmp_path), pytest.raises(AuditLogBusy):
        _open(tmp_path)
    with _open(tmp_path):
        pass


@pytest.mark.parametrize("record", [b"", b"a\nb", b"x" * 70_000])
def test_what_is_no_line_is_no_record(tmp_path: Path, record: bytes) -> None:
    with _open(tmp_path) as log, pytest.raises(ValueError, match="one line"):
        log.append([record])
