"""Who calls whom, from access records, over the last seconds. Pure: records and a time in, edges out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request or connection, as the side that is to be counted saw it."""

    at: float
    source: str
    destination: str
    protocol: str
    ok: bool
    denied: bool
    tls: str
    milliseconds: float
    policy: str


@dataclass(frozen=True, slots=True)
class Edge:
    """What one caller asked of one service within the window."""

    source: str
    destination: str
    protocol: str
    rate: float  # a second
    failed: int
    denied: int
    median: float  # milliseconds
    slowest: float  # the 95th percentile, milliseconds
    tls: str


def call_of(record: Document, now: float) -> Call | None:
    """The call that a record counts as; None if the other side's record of the same request is the one to count."""
    source, destination = record.get("source") or {}, record.get("destination") or {}
    if record.get("reporter") != "source" and source.get("identity"):
        return None  # its own sidecar reports it too, with the latency that the caller felt
    status = int(record.get("status") or 0)
    decision = record.get("decision") or {}
    denied = decision.get("verdict") == "deny" or status == 403
    refused = not source.get("identity") and record.get("reporter") == "destination"
    return Call(
        at=now,
        source=_party(source) if source.get("identity") else "(no identity)",
        destination=_service(destination),
        protocol=str(record.get("protocol") or "tcp"),
        ok=not denied and not refused and status < 500 and not (status == 0 and record.get("flags")),
        denied=denied or refused,
        tls=str((record.get("mtls") or {}).get("version") or ""),
        milliseconds=float(record.get("durationMs") or 0.0),
        policy=str(decision.get("policy") or ""),
    )


def _party(found: Document) -> str:
    return str(found.get("identity", "")).rpartition("/sa/")[2] or str(found.get("pod") or found.get("address") or "?")


def _service(found: Document) -> str:
    return str(found.get("service") or found.get("pod") or found.get("address") or "?").partition(".")[0]


class Traffic:
    """The calls of the last `window` seconds."""

    def __init__(self, window: float = 10.0) -> None:
        self.window = window
        self.total = 0
        self.denied_total = 0
        self._calls: deque[Call] = deque()
        self._denied: deque[Document] = deque(maxlen=6)
        self._closed: deque[tuple[float, str, str]] = deque()
        self._started: float | None = None

    def add(self, record: Document, now: float) -> None:
        """Take one record in."""
        call = call_of(record, now)
        if (record.get("decision") or {}).get("verdict") == "deny":
            self._denied.append(record)
        if call is None:
            self._note_closed(record, now)
            return
        self._started = now if self._started is None else self._started
        self.total += 1
        self.denied_total += call.denied
        self._calls.append(call)

    def _note_closed(self, record: Document, now: float) -> None:
        """A denied connection: its caller's sidecar saw only that it was closed; who denied it knows why."""
        if (record.get("decision") or {}).get("verdict") == "deny" and not record.get("status"):
            self._closed.append((now, _party(record.get("source") or {}), _service(record.get("destination") or {})))
            self.denied_total += 1

    def denials(self) -> list[Document]:
        """The latest records of refused requests, newest first."""
        return list(reversed(self._denied))

    def edges(self, now: float) -> list[Edge]:
        """Every caller with every service it called, the busiest first."""
        while self._calls and self._calls[0].at < now - self.window:
            self._calls.popleft()
        while self._closed and self._closed[0][0] < now - self.window:
            self._closed.popleft()
        closed = Counter((source, destination) for _, source, destination in self._closed)
        span = max(1.0, min(self.window, now - (self._started if self._started is not None else now)))
        groups: dict[tuple[str, str, str], list[Call]] = {}
        for call in self._calls:
            groups.setdefault((call.source, call.destination, call.protocol), []).append(call)
        found = [_edge(key, calls, span, closed[key[:2]]) for key, calls in groups.items()]
        return sorted(found, key=lambda edge: (-edge.rate, edge.source, edge.destination))


def _edge(key: tuple[str, str, str], calls: list[Call], span: float, closed: int) -> Edge:
    times = sorted(call.milliseconds for call in calls)
    versions = {call.tls for call in calls if not call.denied or call.tls}
    return Edge(
        *key,
        rate=len(calls) / span,
        failed=sum(not call.ok and not call.denied for call in calls),
        denied=min(len(calls), sum(call.denied for call in calls) + closed),
        median=_percentile(times, 0.5),
        slowest=_percentile(times, 0.95),
        tls=", ".join(sorted(version for version in versions if version)) or "none",
    )


def _percentile(ordered: Iterable[float], share: float) -> float:
    values = list(ordered)
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0
