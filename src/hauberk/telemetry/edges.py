"""Who calls whom just now: counted as the lines come, forgotten after a minute."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hauberk.telemetry.decode import Decoded, duration_ms
from hauberk.telemetry.record import Party
from hauberk.telemetry.store import workload_of

LONGEST_WINDOW = 60  # seconds
MAX_EDGES = 10_000  # per second; strangers of many addresses must not fill the memory
# Upper bounds of latency classes in milliseconds, each an eighth above the one before: a percentile is right to 6 %.
_BOUNDS = tuple(0.01 * 1.125**step for step in range(160))

EdgeKey = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Traffic from a workload to a service (or a workload, where no service was meant), as rates per second."""

    source: str
    source_namespace: str
    destination: str
    destination_namespace: str
    protocol: str
    rate: float
    denied: float
    failed: float  # 5xx answers and connections that failed
    mtls: float  # share of 0…1
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class _Count:
    """One side's view of one edge."""

    protocol: str = ""
    number: int = 0
    denied: int = 0
    failed: int = 0
    mtls: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def add(self, fields: dict[str, Any], denied: bool) -> None:
        self.protocol = "HTTP" if fields["k"] == "h" else "TCP"
        self.number += 1
        self.denied += denied
        self.failed += (fields.get("s") or 0) >= 500 or (fields["k"] != "h" and bool(fields.get("ut")))
        self.mtls += bool(fields.get("pi"))
        latency = bisect_left(_BOUNDS, duration_ms(fields))
        self.latencies[latency] = self.latencies.get(latency, 0) + 1

    def merge(self, other: "_Count") -> None:
        self.protocol = other.protocol or self.protocol
        self.number += other.number
        self.denied += other.denied
        self.failed += other.failed
        self.mtls += other.mtls
        for latency, number in other.latencies.items():
            self.latencies[latency] = self.latencies.get(latency, 0) + number

    def percentile(self, share: float) -> float:
        """The latency that `share` of all do not exceed."""
        left = share * self.number
        for latency in sorted(self.latencies):
            left -= self.latencies[latency]
            if left <= 0:
                return _BOUNDS[min(latency, len(_BOUNDS) - 1)]
        return 0.0


@dataclass(slots=True)
class _Second:
    number: int
    # Each edge is seen by both sides, or by one if the other has no sidecar: counted apart, they are not counted twice.
    source: dict[EdgeKey, _Count] = field(default_factory=dict)
    destination: dict[EdgeKey, _Count] = field(default_factory=dict)


class Edges:
    """The last minute, by second of arrival."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque(maxlen=LONGEST_WINDOW + 1)
        self._keys: dict[tuple[Party, Party], EdgeKey] = {}

    def add(self, decoded: Decoded, second: int) -> None:
        """`decoded` arrived in `second`."""
        if not self._seconds or self._seconds[-1].number != second:
            self._seconds.append(_Second(second))
        current = self._seconds[-1]
        counts = current.source if decoded.fields["d"] == "o" else current.destination
        key = self._key(decoded.entry.source, decoded.entry.destination)
        count = counts.get(key)
        if count is None:
            if len(counts) >= MAX_EDGES:
                return
            count = counts[key] = _Count()
        count.add(decoded.fields, decoded.entry.denied)

    def edges(self, now: int, window: int) -> tuple[Edge, ...]:
        """All edges of the `window` whole seconds before second `now`, busiest first."""
        window = max(1, min(window, LONGEST_WINDOW))
        source: dict[EdgeKey, _Count] = {}
        destination: dict[EdgeKey, _Count] = {}
        # A copy: another thread may be adding to the newest second.
        for second in tuple(self._seconds):
            if now - window <= second.number < now:
                _sum(source, second.source)
                _sum(destination, second.destination)
        found = (_edge(key, source.get(key), destination.get(key), window) for key in source.keys() | destination.keys())
        return tuple(sorted(found, key=lambda edge: (-edge.rate, edge.source, edge.destination)))

    def _key(self, source: Party, destination: Party) -> EdgeKey:
        key = self._keys.get((source, destination))
        if key is None:
            if len(self._keys) >= MAX_EDGES:
                self._keys.clear()
            key = self._keys[source, destination] = (*_name_of(source), *_name_of(destination))
        return key


def _sum(total: dict[EdgeKey, _Count], part: dict[EdgeKey, _Count]) -> None:
    for key, count in tuple(part.items()):
        total.setdefault(key, _Count()).merge(count)


def _edge(key: EdgeKey, source: _Count | None, destination: _Count | None, window: int) -> Edge:
    # Latency is what the caller waited; denials are known only where they are decided.
    seen = [count for count in (source, destination) if count is not None]
    most = max(seen, key=lambda count: count.number)
    first = seen[0]
    return Edge(
        source=key[0],
        source_namespace=key[1],
        destination=key[2],
        destination_namespace=key[3],
        protocol=first.protocol,
        rate=most.number / window,
        denied=max(count.denied for count in seen) / window,
        failed=max(count.failed for count in seen) / window,
        mtls=max(count.mtls for count in seen) / max(most.number, 1),
        p50_ms=first.percentile(0.5),
        p99_ms=first.percentile(0.99),
    )


def _name_of(party: Party) -> tuple[str, str]:
    if party.service:
        name, _, rest = party.service.partition(".")
        return name, rest.partition(".")[0]
    if party.pod:
        return workload_of(party.pod), party.namespace
    return party.address or "unknown", ""
