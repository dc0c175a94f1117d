"""Access records: what one sidecar saw of one request (HTTP) or connection (TCP)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


class Reporter(StrEnum):
    """Which side's sidecar saw it; a request inside the mesh is seen by both."""

    SOURCE = "source"
    DESTINATION = "destination"


class Verdict(StrEnum):
    """What policy decided."""

    ALLOW = "allow"
    DENY = "deny"


class Party(NamedTuple):
    """One side of a request, as far as it is known; `service` and `port` only of a destination. A tuple: it is a key of many tables."""

    identity: str = ""
    pod: str = ""
    namespace: str = ""
    address: str = ""
    service: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How mutual TLS was spoken."""

    version: str
    cipher: str = ""
    group: str = ""


class RuleName(NamedTuple):
    """A rule of a policy: namespace/name and the rule's place in it; both empty where no rule decided."""

    policy: str = ""
    rule: str = ""


NO_RULE: Final = RuleName()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was decided, and by which rule; or, where none decided, by what: `reason`."""

    verdict: Verdict
    rule: RuleName = NO_RULE
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of it, what would have become of it if dry-run policies were enforced (None: there are none), and who took note."""

    outcome: Outcome
    dry_run: Outcome | None = None
    audit: tuple[RuleName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRecord:
    """One request or connection. Empty text and None mean: does not apply, or nobody knows."""

    time: datetime
    reporter: Reporter
    source: Party
    destination: Party
    protocol: str
    method: str = ""
    authority: str = ""
    path: str = ""
    status: int | None = None
    grpc_status: int | None = None
    flags: str = ""
    details: str = ""
    duration_ms: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    request_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    mtls: Tls | None = None
    decision: Decision

    @property
    def denied(self) -> bool:
        """Whether policy refused it."""
        return self.decision.outcome.verdict is Verdict.DENY

    def to_document(self) -> dict[str, JSON]:
        """The public JSON shape; an unknown value is null, so that every record has the same fields."""
        return {
            "time": self.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "source": _source_document(self.source),
            "destination": _source_document(self.destination)
            | {"service": self.destination.service or None, "port": self.destination.port or None},
            "protocol": self.protocol,
            "method": self.method or None,
            "authority": self.authority or None,
            "path": self.path or None,
            "status": self.status,
            "grpcStatus": self.grpc_status,
            "flags": self.flags or None,
            "details": self.details or None,
            "durationMs": self.duration_ms,
            "bytesIn": self.bytes_in,
            "bytesOut": self.bytes_out,
            "requestId": self.request_id or None,
            "traceId": self.trace_id or None,
            "spanId": self.span_id or None,
            "mtls": _tls_document(self.mtls),
            "decision": _decision_document(self.decision),
            "reporter": self.reporter.value,
        }


def _source_document(party: Party) -> dict[str, JSON]:
    return {
        "identity": party.identity or None,
        "pod": party.pod or None,
        "namespace": party.namespace or None,
        "address": party.address or None,
    }


def _tls_document(tls: Tls | None) -> JSON:
    return None if tls is None else {"version": tls.version, "cipher": tls.cipher or None, "group": tls.group or None}


def _decision_document(decision: Decision) -> dict[str, JSON]:
    dry_run = None if decision.dry_run is None else _outcome_document(decision.dry_run)
    return _outcome_document(decision.outcome) | {"dryRun": dry_run, "audit": [_rule_document(rule) for rule in decision.audit]}


def _outcome_document(outcome: Outcome) -> dict[str, JSON]:
    return {"verdict": outcome.verdict.value} | _rule_document(outcome.rule) | {"reason": outcome.reason or None}


def _rule_document(name: RuleName) -> dict[str, JSON]:
    return {"policy": name.policy or None, "rule": name.rule or None}
