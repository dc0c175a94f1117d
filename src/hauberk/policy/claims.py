"""Claims of verified tokens as policies read them (S-J5): strings and lists of strings; numbers and truth values never match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

SPACE_DELIMITED: Final = ("scope", "permission")  # always


def split_claims(claims: Mapping[str, Any], more: Iterable[str] = ()) -> dict[str, Any]:
    """`claims` as the sidecar keeps them: those that hold words with spaces between them are lists."""
    split = {*SPACE_DELIMITED, *more}
    return {name: _words(value) if name in split and isinstance(value, str) else value for name, value in claims.items()}


def _words(value: str) -> list[str]:
    """Between spaces (RFC 8693, 4.2); no other blank separates them."""
    return [word for word in value.split(" ") if word]


def claim_at(claims: Mapping[str, Any] | None, path: tuple[str, ...]) -> Any:
    """The value at `path`; None if there is none."""
    value: Any = claims
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, str) and len(path) == 1 and path[0] in SPACE_DELIMITED:
        return _words(value)
    return value


def claim_texts(claims: Mapping[str, Any] | None, path: tuple[str, ...]) -> tuple[str, ...]:
    """The strings there, each of which a policy's value is held against."""
    value = claim_at(claims, path)
    if isinstance(value, str):
        return (value,)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list | tuple) else ()
