"""Many texts in few that are not too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def grouped(texts: Iterable[str], longest: int, *, each: int) -> Iterator[list[str]]:
    """`texts` in as many lists as keep each below `longest` bytes; `each` more are counted for every text: what stands between.

    A text that is too long by itself is a list of its own.
    """
    group: list[str] = []
    length = 0
    for text in texts:
        size = len(text.encode())
        if group and length + size > longest:
            yield group
            group, length = [], 0
        group.append(text)
        length += size + each
    if group:
        yield group
