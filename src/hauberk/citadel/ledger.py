"""The one writer of identity events: records of the mesh's audit log."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.audit.opening import open_log
from hauberk.audit.queue import AuditQueue
from hauberk.citadel.key_store import KeyAbsent, KeyAlgorithm, KeyStore, Signer
from hauberk.identity.event import Event

KEY: Final = "audit-log"  # its id beside those of authorities
ORIGIN: Final = "hauberk/audit"


class Ledger:
    """`record` never waits for the disk and never fails; `flush` writes. Both may be called from any thread."""

    def __init__(self, queue: AuditQueue) -> None:
        self.queue = queue

    def record(self, event: Event) -> None:
        """`event` will be written by the next `flush`."""
        self.queue.record(event.to_document())

    @property
    def pending(self) -> bool:
        """Whether there is something to flush."""
        return self.queue.pending

    def flush(self) -> None:
        """What was recorded is in the log. While the disk is full it is kept, and tried again the next time."""
        self.queue.flush()

    def close(self) -> None:
        """Everything is written and the log is released."""
        self.queue.close()


def open_ledger(audit: Path, keys: KeyStore, now: datetime) -> Ledger:
    """The ledger in the directory `audit`, whose heads are signed by a key of its own.

    Raises KeyUnreadable, AuditLogBusy and OSError.
    """
    try:
        signer = keys.open(KEY)
    except KeyAbsent:
        signer = keys.create(KEY, KeyAlgorithm.ECDSA_P256)
    return Ledger(AuditQueue(open_log(audit, _Head(signer), origin=ORIGIN, now=now)))


@dataclass(frozen=True, slots=True)
class _Head:
    """The key as logs know theirs."""

    signer: Signer

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        key = self.signer.public_key
        assert isinstance(key, ec.EllipticCurvePublicKey), "it was made here, on P-256"
        return key

    def sign(self, data: bytes) -> bytes:
        return self.signer.sign(data)
