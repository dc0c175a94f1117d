"""The logs of a pod's programs: files they write straight into, cut before they grow too large."""

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from hauberk.agent.settings import AgentSettings
from hauberk.kit.log import logger

_CHECK_SECONDS: Final = 1.0
_PIECE: Final = 1 << 20
# Of a log that grew beyond this many times its limit between two looks, only the end is kept: a program could otherwise fill the disk
# with copies, even of a file that is nothing but one large hole.
_MOST_LIMITS: Final = 4
_log = logger("agent.logs")


class ContainerLog:
    """`<container>.log`, its older parts `.1`, `.2` … and the log of the program's life before, `.previous`."""

    def __init__(self, directory: Path, container: str) -> None:
        self.current = directory / f"{container}.log"
        self.previous = directory / f"{container}.previous.log"

    def open(self) -> int:
        """A descriptor that appends; what two programs write into it at once stays whole lines, if they write lines."""
        self.current.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self.current, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def begin(self) -> None:
        """A new life: what was written so far is the previous one's."""
        for older in self.older():
            older.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            self.current.replace(self.previous)

    def older(self) -> tuple[Path, ...]:
        """The parts of the current life that were cut off, oldest first."""
        return tuple(sorted(self.current.parent.glob(self.current.name + ".*"), key=lambda path: -int(path.suffix[1:])))


def rotate(path: Path, limit: int, keep: int) -> bool:
    """Whether the file was larger than `limit`, and is therefore `.1` now, `.1` is `.2`, and so on up to `keep` files in all.

    Copied and cut, not renamed: the program holds it open and knows nothing of us.
    """
    try:
        if path.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    for number in range(keep - 1, 1, -1):
        with suppress(FileNotFoundError):
            _numbered(path, number - 1).replace(_numbered(path, number))
    with path.open("r+b") as source, _numbered(path, 1).open("wb") as target:
        left = limit * _MOST_LIMITS
        source.seek(max(0, os.fstat(source.fileno()).st_size - left))
        # Again and again until nothing came meanwhile: only what is written within these last microseconds is lost.
        while left > 0 and (piece := source.read(min(_PIECE, left))):
            left -= target.write(piece)
        source.truncate(0)
    return True


async def rotate_forever(directory: Path, settings: AgentSettings) -> None:
    """No log below `directory` grows much beyond the limit, until cancelled."""
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        try:
            await asyncio.to_thread(_rotate_all, directory, settings)
        except OSError as exc:
            # A full disk, or a pod that went in this moment: the next look may do.
            _log.debug("a log was not cut", reason=str(exc))


def _rotate_all(directory: Path, settings: AgentSettings) -> None:
    for path in directory.glob("*/*.log"):
        rotate(path, settings.log_bytes, settings.log_files)


def remove_logs(directory: Path) -> None:
    """The logs of a pod that is no more are gone."""
    shutil.rmtree(directory, ignore_errors=True)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
