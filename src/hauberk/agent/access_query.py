"""The query of `/v1/access`, as text in an address and as a value."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from hauberk.kit.clock import parse_timestamp
from hauberk.telemetry.store import RecordQuery

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN: Final = 40  # characters of a mistake that are repeated to who made it
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
DEFAULT_LIMIT: Final = 1000
# They are held in memory while they are answered; a few tens of megabytes of the agent's are what a question may cost.
MOST: Final = 10_000


def read_query(parameters: Mapping[str, str], now: datetime) -> RecordQuery:
    """The query; ValueError says what of it is not understood."""
    since = parameters.get("since")
    return RecordQuery(
        since=_microseconds(read_moment(since, now)) if since else None,
        source=parameters.get("from") or None,
        destination=parameters.get("to") or None,
        denied=parameters.get("denied", "").lower() in ("true", "1"),
        request_id=parameters.get("requestId") or None,
        limit=_limit(parameters.get("limit", str(DEFAULT_LIMIT))),
    )


def read_moment(text: str, now: datetime) -> datetime:
    """A timestamp, or a span before now such as `5m`."""
    try:
        if found := _SPAN.fullmatch(text):
            return now - timedelta(seconds=float(found[1]) * _UNITS[found[2]])
        return parse_timestamp(text)
    except OverflowError:
        raise ValueError(f"since: {text[:_SHOWN]!r} is before the beginning of time") from None
    except ValueError:
        raise ValueError(f"since: {text[:_SHOWN]!r} is neither a span such as 5m nor a timestamp") from None


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _limit(text: str) -> int:
    """At most MOST, however much is asked for."""
    if not _DIGITS.fullmatch(text) or not text.strip("0"):
        raise ValueError(f"limit: {text[:_SHOWN]!r} is not a positive number")
    # Its length first: Python refuses to read a number of thousands of digits.
    return MOST if len(text) > len(str(MOST)) else min(int(text), MOST)
