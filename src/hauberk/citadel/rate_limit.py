"""How often one caller may ask: a bucket of tokens each, filled as time passes."""

from dataclasses import dataclass

_MOST_CALLERS = 10_000


class TooMany(Exception):
    """The caller asks too often; he may again in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many requests: try again in {retry_after:.1f} s")
        self.retry_after = retry_after


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float  # of a clock that never goes backwards


class RateLimit:
    """`burst` at once and `rate` a second for each caller, whatever the others do."""

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._buckets: dict[str, _Bucket] = {}

    def take(self, caller: str, now: float) -> None:
        """One request of `caller` at `now` seconds; raises TooMany."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._new(caller, now)
        bucket.tokens = min(self._burst, bucket.tokens + max(0.0, now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.tokens < 1.0:
            raise TooMany((1.0 - bucket.tokens) / self._rate)
        bucket.tokens -= 1.0

    def give_back(self, caller: str) -> None:
        """The request that he was granted last is not carried out."""
        self._buckets[caller].tokens += 1.0

    def _new(self, caller: str, now: float) -> _Bucket:
        if len(self._buckets) >= _MOST_CALLERS:
            # Who has a full bucket by now loses nothing by being forgotten.
            full = self._burst / self._rate
            self._buckets = {name: each for name, each in self._buckets.items() if now - each.at < full}
        bucket = self._buckets[caller] = _Bucket(self._burst, now)
        return bucket
