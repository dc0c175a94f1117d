"""The proof that one record is in the log, as a document that stands by itself: record, path and signed head."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from hauberk.audit import merkle
from hauberk.audit.checkpoint import BadCheckpoint, read
from hauberk.audit.files import LogFiles, read_record

LONGEST_PATH = 64  # hashes: no log has 2**64 records


class NoProof(ValueError):
    """There is no such record, or the document proves nothing."""


def prove(files: LogFiles, number: int, key: EllipticCurvePublicKey) -> dict[str, Any]:
    """The proof of record `number`; NoProof if it is not (or no longer) in the log."""
    note = files.checkpoint.read_text()
    head = read(note, key)
    record = read_record(files, number) if number < head.size else None
    if record is None:
        raise NoProof(f"the log has no record {number}" if number >= head.size else f"record {number} is no longer kept")
    path = merkle.inclusion_proof(number, head.size, files.nodes)
    said = [base64.b64encode(node).decode() for node in path]
    return {"number": number, "record": record.decode(), "inclusionProof": said, "checkpoint": note}


def check(document: Any, key: EllipticCurvePublicKey) -> str:
    """The record that `document` proves to be in the log of `key`; NoProof if it does not."""
    try:
        number, record, path, note = (document[name] for name in ("number", "record", "inclusionProof", "checkpoint"))
        nodes = [base64.b64decode(each, validate=True) for each in path[: LONGEST_PATH + 1]]
        leaf = merkle.leaf_hash(record.encode())
        head = read(note, key)
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError) as exc:
        reason = str(exc) if isinstance(exc, BadCheckpoint) else "number, record, inclusionProof and checkpoint are meant"
        raise NoProof(f"it is no proof: {reason}") from None
    if not isinstance(number, int) or len(nodes) > LONGEST_PATH or not merkle.proves_inclusion(leaf, number, head.size, nodes, head.root):
        raise NoProof("the record is not under the head that is signed")
    return str(record)
