"""Who calls whom just now: counted as the lines come, forgotten after a minute."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from hauberk.telemetry.entry import Between, Entry
from hauberk.telemetry.record import Party
from hauberk.telemetry.store import workload_of

LONGEST_WINDOW = 60  # seconds
MAX_EDGES = 10_000  # per second; strangers of many addresses must not fill the memory
# Upper bounds of latency classes in microseconds, each an eighth above the one before: a percentile is right to 6 %.
_BOUNDS = tuple(10 * 1.125**step for step in range(160))

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

    http: bool = True
    number: int = 0
    denied: int = 0
    failed: int = 0
    mtls: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def merge(self, other: "_Count", *, mutual: bool, http: bool) -> None:
        self.http = http
        self.number += other.number
        self.denied += other.denied
        self.failed += other.failed
        self.mtls += other.number if mutual else 0
        for latency, number in other.latencies.items():
            self.latencies[latency] = self.latencies.get(latency, 0) + number

    def percentile(self, share: float) -> float:
        """The latency that `share` of all do not exceed."""
        left = share * self.number
        for latency in sorted(self.latencies):
            left -= self.latencies[latency]
            if left <= 0:
                return _BOUNDS[min(latency, len(_BOUNDS) - 1)] / 1000
        return 0.0


@dataclass(slots=True)
class _Second:
    number: int
    counts: dict[Between, _Count] = field(default_factory=dict)


class Edges:
    """The last minute, by second of arrival."""

    def __init__(self) -> None:
        self._seconds: deque[_Second] = deque(maxlen=LONGEST_WINDOW + 1)

    def add(self, entry: Entry, second: int) -> None:
        """`entry` arrived in `second`."""
        if not self._seconds or self._seconds[-1].number != second:
            self._seconds.append(_Second(second))
        counts = self._seconds[-1].counts
        count = counts.get(entry.between)
        if count is None:
            if len(counts) >= MAX_EDGES:
                return
            count = counts[entry.between] = _Count()
        count.number += 1
        if entry.denied:
            count.denied += 1
        if entry.failed:
            count.failed += 1
        latency = bisect_left(_BOUNDS, entry.microseconds)
        count.latencies[latency] = count.latencies.get(latency, 0) + 1

    def edges(self, now: int, window: int) -> tuple[Edge, ...]:
        """All edges of the `window` whole seconds before second `now`, busiest first."""
        window = max(1, min(window, LONGEST_WINDOW))
        # Each edge is seen by both sides, or by one if the other has no sidecar: counted apart, they are not counted twice.
        source: dict[EdgeKey, _Count] = {}
        destination: dict[EdgeKey, _Count] = {}
        # Copies: another thread may be adding to the newest second.
        for second in tuple(self._seconds):
            if now - window <= second.number < now:
                for between, count in tuple(second.counts.items()):
                    total = (source if between.outbound else destination).setdefault(_key(between), _Count())
                    total.merge(count, mutual=between.mutual, http=between.http)
        found = (_edge(key, source.get(key), destination.get(key), window) for key in source.keys() | destination.keys())
        return tuple(sorted(found, key=lambda edge: (-edge.rate, edge.source, edge.destination)))


def _key(between: Between) -> EdgeKey:
    return (*_name_of(between.source), *_name_of(between.destination))


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
        protocol="HTTP" if first.http else "TCP",
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
