"""Events become records of the audit log, under heads that are signed by a key of the log's own."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hauberk.audit.files import LogFiles
from hauberk.audit.verify import verify
from hauberk.citadel.key_file import FileKeyStore
from hauberk.citadel.ledger import KEY, Ledger, open_ledger
from hauberk.identity.event import Event, EventKind

_NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _event(subject: str) -> Event:
    return Event(time=_NOW, kind=EventKind.ISSUED, subject=subject, outcome="issued")


def _opened(directory: Path) -> Ledger:
    keys = FileKeyStore(directory / "ca")
    keys.prepare()
    return open_ledger(directory / "audit", keys, _NOW)


def _subjects(directory: Path) -> list[str]:
    segments = LogFiles(directory / "audit").segments()
    return [json.loads(line)["subject"] for segment in segments for line in segment.lines()]


def test_what_was_recorded_is_written_in_order_by_the_next_flush(tmp_path: Path) -> None:
    ledger = _opened(tmp_path)
    for name in "abc":
        ledger.record(_event(name))
    assert ledger.pending
    ledger.flush()
    assert not ledger.pending
    assert _subjects(tmp_path) == ["a", "b", "c"]
    ledger.close()


def test_it_goes_on_in_the_same_log_under_the_same_key(tmp_path: Path) -> None:
    for name in "ab":
        ledger = _opened(tmp_path)
        ledger.record(_event(name))
        ledger.close()
    files = LogFiles(tmp_path / "audit")
    assert _subjects(tmp_path) == ["a", "b"]
    key = load_pem_public_key(files.public_key.read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert verify(files, key).whole


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    ledger = _opened(tmp_path)
    ledger.record(_event("x"))
    ledger.close()
    found = [tmp_path / "ca" / f"{KEY}.pem", *(path for path in (tmp_path / "audit").rglob("*") if path.is_file())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700
