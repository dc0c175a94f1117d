"""The path that is judged and passed on: Envoy's normalization at the levels of Istio's MeshConfig (S-A16), and what stays ambiguous.

What Envoy does was asked of Envoy: `tests/e2e/test_policy_paths.py` holds every function here against it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

Level = Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]

# What no request line may hold, and a fragment: Envoy answers 400 before anybody judges.
_REFUSED: Final = re.compile(r"[^\x21-\x7e]|#")
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~:@!$&'()*+,=-]*)+/?|/")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})|[\"<>^`{|}\\]")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPED_SLASH: Final = re.compile(r"%(2f|5c)", re.IGNORECASE)
_SLASHES: Final = re.compile(r"//+")

# As expressions (RE2) that occur somewhere in a path without its query.
AMBIGUOUS: Final = r"(?i:%2f|%5c|%00|%25[0-9a-f][0-9a-f])|[;\\]|//"
_AMBIGUOUS_DOTS: Final = r"|(?i:%2e)|/\.\.?(?:/|$)"


@lru_cache(maxsize=16384)
def normalized_path(sent: str, level: Level) -> str | None:
    """`sent`, a path with its query, as it is judged and passed on; None if Envoy refuses the request (400)."""
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
    path = _without_dots(_ESCAPE.sub(_canonical, path))
    if level in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"):
        path = _SLASHES.sub("/", path)
    return path + mark + query


def without_query(path: str) -> str:
    """What the paths of policies are about."""
    return path.partition("?")[0].partition("#")[0]


def ambiguity(level: Level) -> str:
    """The expression (RE2) that finds in a normalized path, without its query, what a program may read in more than one way.

    An escaped slash, a parameter or a doubled slash means one thing to one framework and another to the next; a policy that
    counts segments cannot know which. Without normalization dots can be read in two ways as well.
    """
    return AMBIGUOUS + _AMBIGUOUS_DOTS if level == "NONE" else AMBIGUOUS


def is_ambiguous(path: str, level: Level) -> bool:
    """The normalized `path` (without its query) can be read in more than one way."""
    return re.search(ambiguity(level), path) is not None


def _without_parameters(path: str) -> str:
    """Envoy takes `/..;x/` for `/../`, if the dots are not escaped and only slashes are around it."""
    if ";" not in path:
        return path
    segments = path.split("/")
    return "/".join(dots if (dots := segment.partition(";")[0]) in (".", "..") else segment for segment in segments)


def _canonical(found: re.Match[str]) -> str:
    """What need not be escaped is not, what must be is; a backslash is a slash. Each place is looked at once."""
    if found[1] is None:
        return "/" if found[0] == "\\" else f"%{ord(found[0]):02X}"
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0]


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
