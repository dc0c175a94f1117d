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
# What every line is read for, by place: when it began, how long it took, status, details, request id.
_COUNTED: Final = ("t", "us", "s", "x", "r")
COUNTED: Final = len(_COUNTED)
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
    INBOUND_TAG: (*_COUNTED, *_TOLD, "q", "cp", "dr", "dp", "ap", "rl"),
}


def line_format(tag: str, keys: Mapping[str, str]) -> str:
    """The line in which each key of the layout is what `keys` says; with its end."""
    head = SEPARATOR.join((tag, *(keys[key] for key in HEADS[tag])))
    return head + END_OF_HEAD + SEPARATOR.join(keys[key] for key in RESTS[tag]) + "\n"


def read_fields(line: bytes) -> dict[str, Any]:
    """The keys of a line and their values, absent where they do not apply. ValueError or KeyError if no sidecar wrote it."""
    fields = _read_json(line) if line.startswith(b"{") else _read_text(line)
    return {key: value for key, value in fields.items() if value != ""}


def _read_json(line: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(line)
    if document["k"] not in _CONNECTIONS:
        raise ValueError("not about a connection")
    return document


def read_head(head: bytes) -> dict[str, Any]:
    """The keys of a head and their values, which may be empty."""
    tag, *values = head.decode("utf-8", "replace").split(SEPARATOR)
    return {"k": tag[:1], "d": tag[1:2]} | dict(zip(HEADS[tag], values, strict=True))


def separators(head: bytes) -> int:
    """How many stand between the values behind that head."""
    return len(RESTS[_tag_of(head)]) - 1


def _tag_of(head: bytes) -> str:
    """What the head begins with."""
    return head.partition(SEPARATOR.encode())[0].decode("utf-8", "replace")


def _read_text(line: bytes) -> dict[str, Any]:
    head, _, rest = line.rstrip(b"\n").partition(END_OF_HEAD.encode())
    fields = read_head(head)
    values = rest.decode("utf-8", "replace").split(SEPARATOR)
    fields |= zip(RESTS[_tag_of(head)], values, strict=True)
    for number in ("s", "g"):
        if fields[number]:
            fields[number] = int(fields[number])
    return fields
