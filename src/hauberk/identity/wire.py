"""What an agent and the authority say to each other: typed values, and the bytes they travel as.

The service is `hauberk.identity.v1.Citadel` (the table of its messages is in `wire_schema`, `Trust` in `trust`):

    Issue(IssueRequest) -> IssueReply
    IssueToken(TokenRequest) -> TokenReply
    Follow(stream Report) -> stream Trust        the full state each time, the first one at once
    Join(JoinRequest) -> IssueReply              only where machines join

Errors: INVALID_ARGUMENT (the request itself), PERMISSION_DENIED (attestation, revoked, banned; the details say why),
RESOURCE_EXHAUSTED with the trailing metadata `retry-after-ms`, UNAVAILABLE.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from google.protobuf.message import DecodeError

from hauberk.identity.wire_schema import PACKAGE, message

SERVICE: Final = f"{PACKAGE}.Citadel"
ISSUE: Final = "Issue"
ISSUE_TOKEN: Final = "IssueToken"  # noqa: S105 - a method's name
FOLLOW: Final = "Follow"
JOIN: Final = "Join"
RETRY_AFTER: Final = "retry-after-ms"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Longer is never meant: a year of 9999 or a life of centuries must be refused, not overflow.
_LONGEST = timedelta(days=365 * 200)


class InvalidMessage(ValueError):
    """Bytes from the other side are not the message they should be."""


def method_path(method: str) -> str:
    """The path that gRPC calls `method` by."""
    return f"/{SERVICE}/{method}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSubject:
    """A pod, by all that tells it from its successor of the same name."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySubject:
    """A process that an entry of the settings gives an identity; `evidence` is what the agent found out: (selector, value)."""

    name: str
    evidence: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AgentSubject:
    """The calling agent itself."""


Subject = PodSubject | EntrySubject | AgentSubject


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRequest:
    """A certificate is asked for. `lifetime` None: what the settings say."""

    csr_der: bytes
    subject: Subject
    lifetime: timedelta | None = None

    def encode(self) -> bytes:
        return _bytes(
            message("IssueRequest")(csr_der=self.csr_der, subject=_subject(self.subject), lifetime_seconds=_seconds(self.lifetime))
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises InvalidMessage."""
        read = _read("IssueRequest", data)
        return cls(csr_der=read.csr_der, subject=_read_subject(read.subject), lifetime=_read_lifetime(read))


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueReply:
    """A certificate's chain, leaf first and without the root; `authority_id` signed the leaf, `Trust.renew` may name it later."""

    chain_der: tuple[bytes, ...]
    trust_sequence: int
    authority_id: str

    def encode(self) -> bytes:
        return _bytes(message("IssueReply")(chain_der=self.chain_der, trust_sequence=self.trust_sequence, authority_id=self.authority_id))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises InvalidMessage."""
        read = _read("IssueReply", data)
        return cls(chain_der=tuple(read.chain_der), trust_sequence=read.trust_sequence, authority_id=read.authority_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A JWT-SVID is asked for."""

    subject: Subject
    audience: tuple[str, ...]
    lifetime: timedelta | None = None

    def encode(self) -> bytes:
        return _bytes(
            message("TokenRequest")(subject=_subject(self.subject), audience=self.audience, lifetime_seconds=_seconds(self.lifetime))
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises InvalidMessage."""
        read = _read("TokenRequest", data)
        return cls(subject=_read_subject(read.subject), audience=tuple(read.audience), lifetime=_read_lifetime(read))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReply:
    """A JWT-SVID, which is a secret: it is in no repr."""

    token: str = field(repr=False)
    expires: datetime

    def encode(self) -> bytes:
        return _bytes(message("TokenReply")(token=self.token, expires=milliseconds(self.expires)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises InvalidMessage."""
        read = _read("TokenReply", data)
        return cls(token=read.token, expires=moment(read.expires))


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """A machine that is new shows its token, which is in no repr."""

    token: str = field(repr=False)
    node: str
    csr_der: bytes

    def encode(self) -> bytes:
        return _bytes(message("JoinRequest")(token=self.token, node=self.node, csr_der=self.csr_der))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises InvalidMessage."""
        read = _read("JoinRequest", data)
        return cls(token=read.token, node=read.node, csr_der=read.csr_der)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One identity on an agent's machine, as its *user* has it: a pod's Envoy has acknowledged both certificate and trust.

    `sequence` 0 and `serial` empty: nothing was acknowledged yet. `problem`: why there is no newer certificate.
    """

    subject: Subject
    sequence: int = 0
    serial: str = ""  # 32 hexadecimal digits
    authority_id: str = ""
    not_after: datetime = _EPOCH
    problem: str = ""
    spiffe_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that an agent holds, whole each time. `sequence` is of the Trust that the agent itself has and has kept."""

    sequence: int
    node_time: datetime
    holders: tuple[Holder, ...] = ()

    def encode(self) -> bytes:
        holders = [_holder(each) for each in self.holders]
        return _bytes(message("Report")(sequence=self.sequence, node_time=milliseconds(self.node_time), holders=holders))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises InvalidMessage."""
        read = _read("Report", data)
        holders = tuple(_read_holder(each) for each in read.holders)
        return cls(sequence=read.sequence, node_time=moment(read.node_time), holders=holders)


def milliseconds(when: datetime) -> int:
    """`when` as it travels and is stored."""
    return (when - _EPOCH) // _MILLISECOND


def moment(number: int) -> datetime:
    """The time that `number` milliseconds since 1970 are; raises InvalidMessage beyond what a calendar holds."""
    try:
        return _EPOCH + timedelta(milliseconds=number)
    except OverflowError as exc:
        raise InvalidMessage(f"{number} is no time") from exc


def _subject(subject: Subject) -> Any:
    kind = message("Subject")
    match subject:
        case PodSubject():
            return kind(pod=message("Pod")(namespace=subject.namespace, name=subject.name, uid=subject.uid))
        case EntrySubject():
            evidence = [message("Selector")(kind=name, value=value) for name, value in subject.evidence]
            return kind(entry=message("Entry")(name=subject.name, evidence=evidence))
        case AgentSubject():
            return kind(agent=message("Agent")())


def _read_subject(read: Any) -> Subject:
    match read.WhichOneof("of"):
        case "pod":
            return PodSubject(namespace=read.pod.namespace, name=read.pod.name, uid=read.pod.uid)
        case "entry":
            return EntrySubject(name=read.entry.name, evidence=tuple((each.kind, each.value) for each in read.entry.evidence))
        case "agent":
            return AgentSubject()
        case _:
            raise InvalidMessage("the request does not say for whom")


def _holder(holder: Holder) -> Any:
    return message("Holder")(
        subject=_subject(holder.subject),
        sequence=holder.sequence,
        serial=holder.serial,
        authority_id=holder.authority_id,
        not_after=milliseconds(holder.not_after),
        problem=holder.problem,
        spiffe_id=holder.spiffe_id,
    )


def _read_holder(read: Any) -> Holder:
    return Holder(
        subject=_read_subject(read.subject),
        sequence=read.sequence,
        serial=read.serial,
        authority_id=read.authority_id,
        not_after=moment(read.not_after),
        problem=read.problem,
        spiffe_id=read.spiffe_id,
    )


def _seconds(lifetime: timedelta | None) -> int | None:
    return None if lifetime is None else lifetime // timedelta(seconds=1)


def _read_lifetime(read: Any) -> timedelta | None:
    if not read.HasField("lifetime_seconds"):
        return None
    limit = _LONGEST // timedelta(seconds=1)
    return timedelta(seconds=max(-limit, min(limit, read.lifetime_seconds)))


def _read(name: str, data: bytes) -> Any:
    parse: Callable[[bytes], Any] = message(name).FromString
    try:
        return parse(data)
    except (DecodeError, ValueError) as exc:
        raise InvalidMessage(f"not a message {PACKAGE}.{name}") from exc


def _bytes(built: Any) -> bytes:
    encoded: bytes = built.SerializeToString(deterministic=True)
    return encoded
