"""What happened to identities, each with the evidence that led to it. Pure values: who writes them down is `citadel.ledger`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

Evidence = str | int | bool | tuple[str, ...]

# What somebody asked for is told in the words he chose. Longer than any name of a pod with its namespace and uid, and than any identity
# of a ServiceAccount: what is cut off was never meant well.
LONGEST: Final = 640  # characters of one string
MOST: Final = 8  # strings of one list


class EventKind(StrEnum):
    """What an event is about; a part that has a new kind adds it here."""

    ISSUED = "certificate-issued"
    REFUSED = "certificate-refused"
    REVOKED = "revoked"
    REVOCATION_LIFTED = "revocation-lifted"
    AUTHORITY_PREPARED = "authority-prepared"
    AUTHORITY_ACTIVATED = "authority-activated"
    AUTHORITY_OLD = "authority-old"
    AUTHORITY_RETIRED = "authority-retired"
    AUTHORITY_IMPORTED = "authority-imported"
    ROTATION_STEP = "rotation-step"
    TRUST_PUBLISHED = "trust-published"
    CLOCK_SKEW = "clock-skew"
    NODE_JOINED = "node-joined"
    NODE_REFUSED = "node-refused"
    NODE_BANNED = "node-banned"
    NODE_READMITTED = "node-readmitted"
    JOIN_TOKEN_MADE = "join-token-made"  # noqa: S105 - a kind of event
    BUNDLE_FETCHED = "bundle-fetched"
    BUNDLE_REFUSED = "bundle-refused"
    FEDERATED = "federated"
    FEDERATION_ENDED = "federation-ended"
    TRUST_DOMAIN_RENAMED = "trust-domain-renamed"
    TOKEN_ISSUED = "token-issued"  # noqa: S105 - a kind of event
    TOKEN_REFUSED = "token-refused"  # noqa: S105 - a kind of event


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. Never a key, a token or a passphrase in any field.

    `subject`: about whom (a SPIFFE ID, a pod, a node, an authority's id). `by`: who caused it. `evidence`: what was known and led to
    the `outcome`, as JSON can say it.
    """

    time: datetime
    kind: EventKind
    subject: str
    outcome: str
    by: str = ""
    evidence: Mapping[str, Evidence] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """The event as one line of the ledger has it; what is empty is left out, and what is very long is cut."""
        document = {
            "time": self.time.isoformat(timespec="milliseconds"),
            "kind": self.kind.value,
            "subject": _cut(self.subject),
            "outcome": _cut(self.outcome),
            "by": _cut(self.by),
            "evidence": {_cut(name): _cut_evidence(value) for name, value in self.evidence.items()},
        }
        return {name: value for name, value in document.items() if value}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def _cut_evidence(value: Evidence) -> Evidence:
    match value:
        case str():
            return _cut(value)
        case tuple():
            more = (f"… ({len(value)} in all)",) if len(value) > MOST else ()
            return (*map(_cut, value[:MOST]), *more)
        case _:
            return value
