"""How a sidecar's line about a request is laid out: values in a fixed order behind a tag. What the keys mean: `translate/access_log.py`.

A line has two parts. The *head* says between whom: it is the same for many requests, so the reader looks at each only once and the
store keeps it once. The *rest* says what this request was: what is counted and searched by stands first in it.

Lines about connections are JSON. Requests are many, and JSON costs the sidecars twice what text costs, for each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

# No caller can write them, nor the end of a line: Envoy refuses requests whose headers hold control characters.
SEPARATOR: Final = "\x1f"
END_OF_HEAD: Final = "\x1e"

_TLS: Final = ("pi", "tv", "tc", "tg")
# The reader of `telemetry/decode.py` takes those up to the request's id by their places.
_COUNTED: Final = ("t", "us", "s", "x", "r")
_TOLD: Final = ("f", "bi", "bo", "m", "a", "p", "v", "g", "tp")

# Behind a tag of kind, direction and version: lines outlive the release that wrote them, so a layout is never changed, only followed
# by another.
OUTBOUND_TAG: Final = "ho2"
INBOUND_TAG: Final = "hi2"
_CONNECTIONS: Final = ("t", "l")
HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    OUTBOUND_TAG: ("la", "c", "u", "w", *_TLS),
    INBOUND_TAG: ("la", "ch", "n", *_TLS),
}
RESTS: Final[Mapping[str, tuple[str, ...]]] = {
    OUTBOUND_TAG: (*_COUNTED, *_TOLD),
    INBOUND_TAG: (*_COUNTED, *_TOLD, "q", "cp", "dr", "dp", "ap"),
}


def line_format(tag: str, keys: Mapping[str, str]) -> str:
    """The line in which each key of the layout is what `keys` says; with its end."""
    head = SEPARATOR.join((tag, *(keys[key] for key in HEADS[tag])))
    return head + END_OF_HEAD + SEPARATOR.join(keys[key] for key in RESTS[tag]) + "\n"


def read_fields(line: bytes) -> dict[str, Any]:
    """The keys of a line and their values, absent where they do not apply. ValueError or KeyError if no sidecar wrote it."""
    fields = _read_json(line) if line.startswith(b"{") else _read_text(line.decode("utf-8", "replace").rstrip("\n"))
    return {key: value for key, value in fields.items() if value != ""}


def _read_json(line: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(line)
    if document["k"] not in _CONNECTIONS:
        raise ValueError("not about a connection")
    return document


def _read_text(line: str) -> dict[str, Any]:
    head, _, rest = line.partition(END_OF_HEAD)
    tag, *values = head.split(SEPARATOR)
    fields: dict[str, Any] = {"k": tag[:1], "d": tag[1:2]}
    fields |= zip(HEADS[tag], values, strict=True)
    fields |= zip(RESTS[tag], rest.split(SEPARATOR), strict=True)
    for number in ("s", "g"):
        if fields[number]:
            fields[number] = int(fields[number])
    return fields
