"""Which layout the state directory has: what one version wrote, another must not misread."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from hauberk.local.failure import StateIncompatible, StateNotWritable

if TYPE_CHECKING:
    from pathlib import Path

CURRENT: Final = 1  # raised whenever a file below the state directory changes its form


def ensure(state: Path) -> None:
    """`state` has the layout this version reads, and says so; an empty directory is given it."""
    file = state / "version"
    found = _read(file)
    if found == str(CURRENT):
        return
    if found is None and not (state / "objects.db").exists():
        _write(file)
        return
    if found is not None and found.isdecimal() and int(found) > CURRENT:
        raise StateIncompatible(
            f"{state} belongs to a newer version of Hauberk (layout {found}; this one reads {CURRENT})",
            "install that version again, or forget everything in it: `hauberk down --purge`",
        )
    raise StateIncompatible(
        f"{state} belongs to an older version of Hauberk (layout {found or 'unknown'}; this one reads {CURRENT})",
        "export your objects with the older version (`hauberk get … -o yaml`), then forget the rest: `hauberk down --purge`",
    )


def _read(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateNotWritable(
            f"cannot read {file}: {error.strerror}", "make it readable for this user, or set HAUBERK_STATE_DIR"
        ) from error


def _write(file: Path) -> None:
    try:
        file.write_text(f"{CURRENT}\n")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space" if full else "make the directory writable for this user, or set HAUBERK_STATE_DIR"
        raise StateNotWritable(f"cannot write {file}: {error.strerror}", hint) from error
