"""Mistakes in the limits of a RateLimitPolicy that types alone do not show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from hauberk.api.condition_key import ConditionKeyError
from hauberk.api.finding import Finding, Location
from hauberk.api.header_name import header_fault
from hauberk.api.name import label_fault
from hauberk.api.policy_values import OF_FIELD, check_text, check_values, positive
from hauberk.api.rate_limit import HeaderMatch, Limit, LimitMatch
from hauberk.api.rate_limit_key import bucket_words, parse_bucket_key
from hauberk.api.sift import near_remedy

MOST_LIMITS = 64
MOST_KEYS = 8
MOST_HEADERS = 32
MOST_REQUESTS = 1_000_000_000
SHORTEST_PERIOD: Final = timedelta(milliseconds=100)
LONGEST_PERIOD: Final = timedelta(days=1)


def check_limits(at: Location, limits: tuple[Limit, ...]) -> Iterator[Finding]:
    """Mistakes of all limits of one object."""
    if len(limits) > MOST_LIMITS:
        yield Finding("HBK0307", at, f"{len(limits)} limits; at most {MOST_LIMITS} are allowed")
    names: set[str] = set()
    for index, limit in enumerate(limits[:MOST_LIMITS]):
        here: Location = (*at, index)
        if fault := label_fault(limit.name):
            yield Finding("HBK0108", (*here, "name"), f"{limit.name!r} is no name of a limit: it {fault}")
        if limit.name in names:
            yield Finding("HBK0112", (*here, "name"), f"the name {limit.name} is used already")
        names.add(limit.name)
        yield from _check_rate(here, limit)
        yield from _check_keys((*here, "by"), limit.by)
        yield from _check_match((*here, "match"), limit.match)


def _check_rate(at: Location, limit: Limit) -> Iterator[Finding]:
    if not SHORTEST_PERIOD <= limit.per <= LONGEST_PERIOD:
        yield Finding("HBK0330", (*at, "per"), "the time of a limit must be between 100ms and 24h")
    for name, value in (("requests", limit.requests), ("burst", limit.burst or 1)):
        if value > MOST_REQUESTS:
            yield Finding("HBK0107", (*at, name), f"{value} is out of range; it must be at most {MOST_REQUESTS:,}")


def _check_keys(at: Location, keys: tuple[str, ...]) -> Iterator[Finding]:
    if len(keys) > MOST_KEYS:
        yield Finding("HBK0330", at, f"{len(keys)} properties; at most {MOST_KEYS} are allowed")
    seen = set()
    for index, text in enumerate(keys):
        try:
            key = parse_bucket_key(text)
        except ConditionKeyError as error:
            yield Finding("HBK0309", (*at, index), str(error), near_remedy(text, bucket_words()))
            continue
        if key in seen:
            yield Finding("HBK0112", (*at, index), f"{text} is there already")
        seen.add(key)


def _check_match(at: Location, match: LimitMatch) -> Iterator[Finding]:
    for name, field in LimitMatch.model_fields.items():
        yaml = field.alias or name
        if check := OF_FIELD.get(positive(yaml)):
            yield from check_values((*at, yaml), getattr(match, name), check)
    if len(match.headers) > MOST_HEADERS:
        yield Finding("HBK0307", (*at, "headers"), f"{len(match.headers)} headers; at most {MOST_HEADERS} are allowed")
    for index, header in enumerate(match.headers[:MOST_HEADERS]):
        yield from _check_header((*at, "headers", index), header)


def _check_header(at: Location, header: HeaderMatch) -> Iterator[Finding]:
    if fault := header_fault(header.name):
        yield Finding("HBK0110", (*at, "name"), f"{header.name!r:.200} is no name of a header: it {fault}")
    if not header.values and not header.not_values:
        yield Finding("HBK0302", at, f"the header {header.name} has neither values nor notValues")
    yield from check_values((*at, "values"), header.values, check_text)
    yield from check_values((*at, "notValues"), header.not_values, check_text)
