"""Hosts compared: without case and final dot, and without port unless the policy's value speaks of one.

`a.example`, `A.EXAMPLE`, `a.example.` and `a.example:8080` reach the same program; a policy about `a.example` means them all.
"""

from __future__ import annotations

import re
from typing import Final

from hauberk.policy.pattern import TextPattern, quote

# Everything has a name and perhaps a port, also what is no host; an address of version 6 stands in brackets.
_HOST: Final = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::(?P<port>.*))?")


def parse_host(value: str) -> TextPattern:
    """The pattern of a policy's value; a final dot in it says nothing."""
    if value.startswith("*"):
        text = _without_dot(value[1:].lower())
        return TextPattern("suffix", text, ignore_case=True) if text else TextPattern("present", "")
    if value.endswith("*"):
        return TextPattern("prefix", value[:-1].lower(), ignore_case=True)
    return TextPattern("exact", _without_dot(value.lower()), ignore_case=True)


def speaks_of_port(pattern: TextPattern) -> bool:
    """Then the port is compared as well."""
    text = pattern.text
    return ":" in (text.rpartition("]")[2] if "]" in text else "" if text.startswith("[") else text)


def canonical_host(sent: str) -> tuple[str, str | None]:
    """The name as it is compared, in lower case and without final dot; and the port as it was written."""
    found = _HOST.fullmatch(sent.lower())
    return (_without_dot(found["name"]), found["port"]) if found else (sent.lower(), None)


def host_matches(pattern: TextPattern, sent: str) -> bool:
    """The host that was sent is meant."""
    if pattern.match == "present":
        return sent != ""
    name, port = canonical_host(sent)
    return pattern.matches(f"{name}:{port}" if port is not None and speaks_of_port(pattern) else name)


def host_expression(pattern: TextPattern) -> str:
    """The same question as an expression (RE2) for all of the host that was sent."""
    if pattern.match == "present":
        return ".+"
    if speaks_of_port(pattern):
        found = _HOST.fullmatch(pattern.text)
        name, port = (found["name"], found["port"] or "") if found else (pattern.text, "")
        text, end, before = f"{quote(name)}{_final_dot(name)}:{quote(port)}", "", ".*"
    else:
        text, end, before = quote(pattern.text), rf"{_final_dot(pattern.text)}(?::.*)?", _before(pattern.text)
    match pattern.match:
        case "suffix":
            return f"(?i:{before}{text}{end})"
        case "prefix":
            # The final dot of the host does not count, so that something must follow the one that is asked for.
            return f"(?i:{text}{'[^:].*' if pattern.text.endswith('.') else '.*'})"
        case _:
            return f"(?i:{text}{end})"


def _before(end: str) -> str:
    """What a name that ends so may begin with; colons are of a name in brackets only."""
    return r"\[[^\]]*" if end.endswith("]") else r"(?:[^:\[][^:]*)?"


def _final_dot(name: str) -> str:
    """One dot more than `name` does not count; behind a dot there must be one that is not counted."""
    return r"\." if name.endswith(".") else r"\.?"


def _without_dot(name: str) -> str:
    return name.removesuffix(".")
