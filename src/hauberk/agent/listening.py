"""Which TCP ports a process's network namespace listens on, read from the kernel's tables: nobody is disturbed by a connection."""

from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"


def listening_ports(pid: int) -> frozenset[int]:
    """The ports, on any address, IPv4 or IPv6; none if the process is gone."""
    found: set[int] = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            found |= read_listening(Path(f"/proc/{pid}/net/{name}").read_text())
    return frozenset(found)


def read_listening(table: str) -> set[int]:
    """The listening ports in the text of /proc/PID/net/tcp."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTEN}
