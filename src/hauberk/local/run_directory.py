"""Emptying the run directory: after a mesh has ended in whatever way, nothing in it means anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def empty(directory: Path) -> None:
    """Nothing is left in `directory`; no error if it does not exist. Symbolic links are removed, never followed."""
    for place, folders, files in os.walk(directory, topdown=False):
        for name in files:
            _unlink(os.path.join(place, name))  # noqa: PTH118 - os.walk gives strings
        for name in folders:
            path = os.path.join(place, name)  # noqa: PTH118
            if os.path.islink(path):  # noqa: PTH114
                _unlink(path)
            else:
                os.rmdir(path)  # noqa: PTH106


def remove(directory: Path) -> None:
    """`directory` is gone, and the one above it too if nothing else was in it."""
    empty(directory)
    for path in (directory, directory.parent):
        try:
            path.rmdir()
        except OSError:
            return  # absent, or another mesh lives beside this one


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
