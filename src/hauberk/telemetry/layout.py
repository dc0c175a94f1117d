"""How a sidecar's line about a request is laid out: values in a fixed order behind a tag. What the keys mean: `translate/access_log.py`.

Lines about connections are JSON. Requests are many, and JSON costs the sidecars twice what text costs, for each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

# No caller can write it, nor the end of a line: Envoy refuses requests whose headers hold control characters.
SEPARATOR: Final = "\x1f"

_BOTH: Final = ("t", "f", "bi", "bo", "la", "us", "m", "a", "p", "v", "s", "g", "r", "tp", "x", "pi", "tv", "tc", "tg")

# Behind a tag of kind, direction and version: stored lines outlive the release that wrote them, so a layout is never changed, only
# followed by another.
OUTBOUND_TAG: Final = "ho1"
INBOUND_TAG: Final = "hi1"
LAYOUTS: Final[Mapping[str, tuple[str, ...]]] = {
    OUTBOUND_TAG: (*_BOTH, "c", "u", "w"),
    INBOUND_TAG: (*_BOTH, "ca", "n", "q"),
}


def read_fields(line: bytes) -> dict[str, Any]:
    """The keys of a line and their values, absent where they do not apply. ValueError or KeyError if no sidecar wrote it."""
    fields = {key: value for key, value in read_values(line).items() if value != ""}
    if "g" in fields:
        fields["g"] = int(fields["g"])
    return fields


def read_values(line: bytes) -> dict[str, Any]:
    """As `read_fields`, but quick: what does not apply may be an empty text, and a gRPC status may be text."""
    if line.startswith(b"{"):
        document: dict[str, Any] = json.loads(line)
        return document
    tag, *values = line.decode("utf-8", "replace").rstrip("\n").split(SEPARATOR)
    fields: dict[str, Any] = dict(zip(LAYOUTS[tag], values, strict=True))
    fields["k"], fields["d"] = tag[0], tag[1]
    if status := fields["s"]:
        fields["s"] = int(status)
    return fields
