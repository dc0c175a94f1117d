"""The files of a mesh's audit log as commands read them: no mesh has to run."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.cli import connection
from hauberk.cli.failure import Failure

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from hauberk.audit.files import LogFiles

_NONE = "the log begins when the mesh is first started; --mesh NAME names another one"


def files_of(directory: str | None = None) -> LogFiles:
    """The log in `directory`, or that of the mesh; Failure if there is none that can be read."""
    from hauberk.audit.files import LogFiles  # noqa: PLC0415 -- cryptography is slow to load, and `--help` must not wait

    path = Path(directory) if directory else connection.mesh().places.audit
    try:
        if not (path / "checkpoint").is_file():
            raise Failure(f"there is no audit log in {path}", remedy=_NONE)
    except PermissionError as exc:
        raise Failure(f"the audit log in {path} cannot be read", "it belongs to another user", "run this as the mesh's user") from exc
    return LogFiles(path)


def public_key(files: LogFiles, path: str | None = None) -> EllipticCurvePublicKey:
    """The key in the file `path`, or the one that lies beside the log."""
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 -- see above
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    where = Path(path) if path else files.public_key
    try:
        key = load_pem_public_key(where.read_bytes())
    except (OSError, ValueError) as exc:
        raise Failure(f"{where} cannot be read as a public key", str(exc), "give the key of the log by --key FILE") from exc
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Failure(f"{where} is not the key of an audit log", remedy="the log's own is public-key.pem in its directory")
    return key


def records(files: LogFiles, *, since: float | None, kinds: frozenset[str], limit: int | None) -> list[dict[str, Any]]:
    """The latest records of these kinds (none: of all), oldest first, each with its number."""
    oldest = datetime.now(UTC) - timedelta(seconds=since) if since is not None else None
    found: deque[dict[str, Any]] = deque(maxlen=limit)
    for number, line in _lines(files):
        record = _read(line)
        if (not kinds or record.get("kind") in kinds) and (oldest is None or _time(record) >= oldest):
            found.append({"number": number, **record})
    return list(found)


def _lines(files: LogFiles) -> Iterator[tuple[int, bytes]]:
    for segment in files.segments():
        yield from enumerate(segment.lines(), segment.first)


def _read(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"kind": "unreadable"}


def _time(record: dict[str, Any]) -> datetime:
    try:
        found = datetime.fromisoformat(str(record.get("time")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
