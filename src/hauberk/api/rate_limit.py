"""One limit of a RateLimitPolicy: which requests it counts, how many may pass in which time, and what has a count of its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from hauberk.api.duration import format_duration, parse_duration
from hauberk.api.model import ApiModel, Positive
from hauberk.api.rate_limit_key import BucketKey, parse_bucket_key

UNITS: Final = {"second": timedelta(seconds=1), "minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
Values = tuple[str, ...]


def _period(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("HBK0104", "must be second, minute, hour or a duration such as 10s")
    try:
        return UNITS.get(value) or parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("HBK0110", "{value} is neither second, minute, hour nor a duration", {"value": repr(value)}) from error


def _told(period: timedelta) -> str:
    return next((word for word, unit in UNITS.items() if unit == period), None) or format_duration(period)


Period = Annotated[timedelta, BeforeValidator(_period), PlainSerializer(_told, return_type=str)]


class HeaderMatch(ApiModel):
    """The header has one of `values` and none of `not_values`; one of the two lists is needed."""

    name: str
    values: Values = ()
    not_values: Values = ()


class LimitMatch(ApiModel):
    """Requests that a limit counts: fields are AND, values of one field are OR, written as in an AuthorizationPolicy's operation."""

    methods: Values = ()
    not_methods: Values = ()
    paths: Values = ()
    not_paths: Values = ()
    hosts: Values = ()
    not_hosts: Values = ()
    headers: tuple[HeaderMatch, ...] = ()


class Limit(ApiModel):
    """At most `requests` in `per`, for each combination of values of what `by` names; `burst` may come at once."""

    name: str
    requests: Positive
    per: Period
    burst: Positive | None = None  # None: as many as `requests`
    by: Values = ()  # empty: one bucket for all requests
    match: LimitMatch = LimitMatch()

    @property
    def size(self) -> int:
        """How many requests may come at once."""
        return self.burst or self.requests

    @property
    def buckets(self) -> tuple[BucketKey, ...]:
        """What `by` names; ConditionKeyError for what names nothing, which no accepted policy holds."""
        return tuple(parse_bucket_key(each) for each in self.by)
