"""The query of `/v1/access`, as text in an address and as a value."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from hauberk.kit.clock import parse_timestamp
from hauberk.telemetry.store import RecordQuery

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
DEFAULT_LIMIT: Final = 1000


def read_query(parameters: Mapping[str, str], now: datetime) -> RecordQuery:
    """The query; ValueError says what of it is not understood."""
    since = parameters.get("since")
    return RecordQuery(
        since=int(read_moment(since, now).timestamp() * 1_000_000) if since else None,
        source=parameters.get("from") or None,
        destination=parameters.get("to") or None,
        denied=parameters.get("denied", "").lower() in ("true", "1"),
        request_id=parameters.get("requestId") or None,
        limit=_number(parameters.get("limit", str(DEFAULT_LIMIT))),
    )


def read_moment(text: str, now: datetime) -> datetime:
    """A timestamp, or a span before now such as `5m`."""
    if found := _SPAN.fullmatch(text):
        return now - timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    try:
        return parse_timestamp(text)
    except ValueError:
        raise ValueError(f"since: {text!r} is neither a span such as 5m nor a timestamp") from None


def _number(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"limit: {text!r} is not a positive number")
    return int(text)
