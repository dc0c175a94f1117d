"""The path that is judged and passed on: Envoy's normalization at the levels of Istio's MeshConfig (S-A16), and what stays ambiguous.

What Envoy does was asked of Envoy: `tests/e2e/test_policy_paths.py` holds every function here against it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

Level = Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]

# What no request may hold, and a fragment: Envoy refuses it before anybody judges. Characters beyond ASCII come by HTTP/2 only.
_REFUSED: Final = re.compile(r"[\x00-\x20\x7f#]")
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~:@!$&'()*+,=-]*)+/?|/")
_OTHERS: Final = {"\\": "/", **{character: f"%{ord(character):02X}" for character in '"<>^`{|}'}}
LONGEST_REMEMBERED: Final = 1024  # characters; whoever asks about longer ones must not fill the memory
_HEX: Final = frozenset("0123456789ABCDEFabcdef")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPED_SLASH: Final = re.compile(r"%(2f|5c)", re.IGNORECASE)

# Expressions (RE2) for places in a path without its query. An escaped slash, a parameter or a doubled slash means one thing to one
# framework and another to the next.
_DELIMITERS: Final = r"(?i:%2f|%5c|%00|%3b|%25[0-9a-f][0-9a-f])|[;\\]|//"
# What normalization resolves is ambiguous where it does not happen: at level NONE, and on connections made before the level was raised.
_RESOLVED: Final = r"/\.\.?(?:/|$)|(?i:%2[de]|%3[0-9]|%[46][1-9a-f]|%[57][0-9a]|%5f|%7e)"
AMBIGUOUS: Final = f"{_DELIMITERS}|{_RESOLVED}"


def normalized_path(sent: str, level: Level) -> str | None:
    """`sent`, a path with its query, as it is judged and passed on; None if Envoy refuses the request (400)."""
    return (_remembered if len(sent) <= LONGEST_REMEMBERED else _normalized)(sent, level)


@lru_cache(maxsize=16384)
def _remembered(sent: str, level: Level) -> str | None:
    return _normalized(sent, level)


def _normalized(sent: str, level: Level) -> str | None:
    if _REFUSED.search(sent):
        return None
    path, mark, query = sent.partition("?")
    if level == "NONE" or _PLAIN.fullmatch(path):
        return sent
    if level == "DECODE_AND_MERGE_SLASHES":
        path = _ESCAPED_SLASH.sub(lambda found: "/" if found[1].lower() == "2f" else "\\", path)
    path = _without_parameters(path)
    if "%00" in path:
        return None
    path = _without_dots(_canonical(path))
    if level in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"):
        path = _merged(path)
    return path + mark + query


def without_query(path: str) -> str:
    """What the paths of policies are about."""
    return path.partition("?")[0].partition("#")[0]


def is_ambiguous(path: str) -> bool:
    """The normalized `path` (without its query) can be read in more than one way, and no policy can know in which."""
    return re.search(AMBIGUOUS, path) is not None


def _without_parameters(path: str) -> str:
    """Envoy takes `/..;x/` for `/../`, if the dots are not escaped and only slashes are around it."""
    if ";" not in path:
        return path
    segments = path.split("/")
    return "/".join(dots if (dots := segment.partition(";")[0]) in (".", "..") else segment for segment in segments)


def _merged(path: str) -> str:
    """One slash where there were several; Envoy leaves two of a path that has nothing else."""
    if "//" not in path:
        return path
    return f"/{'/'.join(filter(None, path.split('/')))}{'/' if path.endswith('/') else ''}"


def _canonical(path: str) -> str:
    """What need not be escaped is not, what must be is; a backslash is a slash. Each place is looked at once."""
    out: list[str] = []
    alone = -3  # where a percent sign stands that begins no escape
    place = 0
    while place < len(path):
        if path[place] != "%":
            out += _OTHERS.get(path[place], path[place]) if path[place].isascii() else _escaped(path[place])
            place += 1
            continue
        escape = path[place + 1 : place + 3]
        if not _is_hex(escape):
            alone = len(out)
            out.append("%")
            place += 1
            continue
        place += 3
        character = chr(int(escape, 16))
        if character not in _UNRESERVED:
            out += f"%{escape}"
            continue
        out.append(character)
        if alone >= len(out) - 3 and _is_hex("".join((*out[alone + 1 :], path[place : place + 1]))[:2]):
            # Together with what is no escape any more it would be one: `%2%61` does not become `%2a`.
            out[alone] = "%25"
            out[alone:] = "".join(out[alone:])
    return "".join(out)


def _escaped(character: str) -> str:
    """Its bytes; what was not UTF-8 is kept as a surrogate."""
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogateescape"))


def _is_hex(digits: str) -> bool:
    return len(digits) == 2 and set(digits) <= _HEX


def _without_dots(path: str) -> str:
    kept: list[str] = []
    first, *segments = path.split("/")
    for number, segment in enumerate(segments, start=1):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
            continue
        if number == len(segments):
            kept.append("")  # `/a/..` is a directory, with its slash
    return "/".join((first, *kept))
