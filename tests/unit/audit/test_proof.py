"""Proofs of single records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.audit.signing import new_key

from hauberk.audit.log import AuditLog
from hauberk.audit.proof import NoProof, check, prove

_KEY = new_key()


def _log(directory: Path) -> AuditLog:
    log = AuditLog(directory, _KEY, origin="hauberk/test")
    log.append([json.dumps({"number": number, "who": "ü"}).encode() for number in range(300)])
    return log


def test_a_proof_stands_by_itself(tmp_path: Path) -> None:
    with _log(tmp_path) as log:
        document = json.loads(json.dumps(prove(log.files, 17, _KEY.public_key)))
    assert json.loads(check(document, _KEY.public_key))["number"] == 17


def test_what_is_not_there_cannot_be_proven(tmp_path: Path) -> None:
    with _log(tmp_path) as log, pytest.raises(NoProof, match="no record 300"):
        prove(log.files, 300, _KEY.public_key)


@pytest.mark.parametrize(
    "change",
    [
        {"record": '{"number": 18, "who": "\\u00fc"}'},
        {"number": 18},
        {"number": "17"},
        {"number": -1},
        {"inclusionProof": []},
        {"inclusionProof": ["!"]},
        {"inclusionProof": ["AAAA"] * 1000},
        {"inclusionProof": 7},
        {"record": 7},
        {"checkpoint": ""},
    ],
)
def test_what_was_changed_proves_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    with _log(tmp_path) as log:
        document = prove(log.files, 17, _KEY.public_key) | change
    with pytest.raises(NoProof):
        check(document, _KEY.public_key)


def test_another_logs_key_proves_nothing(tmp_path: Path) -> None:
    with _log(tmp_path) as log:
        document = prove(log.files, 17, _KEY.public_key)
    wrongs: tuple[Any, ...] = (document, [], None, {"number": 17})
    for wrong in wrongs:
        with pytest.raises(NoProof):
            check(wrong, new_key().public_key)
