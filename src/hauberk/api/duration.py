"""Durations as Istio and Kubernetes write them: 10s, 1h30m, 100ms."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs))+")


def parse_duration(text: str) -> timedelta:
    """The duration; ValueError if `text` is none. The number 0 needs no unit."""
    if text == "0":
        return timedelta()
    if len(text) > 40 or not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no duration; write a number with a unit, such as 10s, 1h30m or 100ms")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def format_duration(duration: timedelta) -> str:
    """The shortest text with one unit that means exactly `duration`."""
    milliseconds = duration / timedelta(milliseconds=1)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds / size:.0f}{unit}"
    return "0s" if not milliseconds else f"{milliseconds:.3f}".rstrip("0").rstrip(".") + "ms"


def _validate(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("duration_type", "Input should be a duration such as 10s")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("HBK0110", "{reason}", {"reason": str(error)}) from error


Duration = Annotated[timedelta, BeforeValidator(_validate), PlainSerializer(format_duration, return_type=str)]
