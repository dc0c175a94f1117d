"""Opening an audit log that may have been damaged: what is left of it is kept beside, and a new log says so in its first record."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from hauberk.audit.checkpoint import HeadSigner
from hauberk.audit.log import AuditLog, AuditLogDamaged
from hauberk.kit.log import logger

_log = logger("audit")


def open_log(directory: Path, signer: HeadSigner, *, origin: str, now: datetime) -> AuditLog:
    """The log in `directory`, which is made if need be.

    A mesh does not stop because somebody broke its log; but nothing is written behind a gap as if there were none: who keeps an older
    head finds that the log does not reach it any more.
    """
    try:
        return AuditLog(directory, signer, origin=origin)
    except AuditLogDamaged as exc:
        aside = directory.with_name(f"{directory.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
        directory.replace(aside)
        _log.error("the audit log is damaged; another one was begun", reason=str(exc), kept=str(aside))
        log = AuditLog(directory, signer, origin=origin)
        begun = {"time": now.isoformat(timespec="milliseconds"), "kind": "audit-log-replaced", "outcome": str(exc), "subject": aside.name}
        log.append([json.dumps(begun, separators=(",", ":")).encode()])
        return log
