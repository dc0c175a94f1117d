"""The connections of bytes to a pod's program that are open: who made each, as its sidecar saw and decided it.

Read from the lines that the sidecar writes when such a connection is made and when it ends. No other place knows all of it: the kernel
has addresses and no identities, and not even whether a connection came through mutual TLS. What is open is on disk as well, for the
agent that follows this one: a journal to which as little is added as was written.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hauberk.kit.log import logger

# A quotation mark inside of a value is escaped: no caller can write these.
_BEGUN: Final = b'"e":"TcpUpstreamConnected"'
_ENDED: Final = b'"e":"TcpConnectionEnd"'
_MOST: Final = 100_000  # connections of one pod; what a sidecar that has gone mad writes must not fill the memory
_LONGEST_JOURNAL: Final = 1 << 20  # bytes beyond which it is written anew if most of it is about connections that have ended

_log = logger("records")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveConnection:
    """`caller` and `called` are addresses with ports, `called` as before interception; `identity` is empty without mutual TLS."""

    caller: str
    called: str
    identity: str = ""
    server_name: str = ""

    @property
    def caller_host(self) -> str:
        return _host(self.caller)

    @property
    def caller_port(self) -> int:
        return _port(self.caller)

    @property
    def called_host(self) -> str:
        return _host(self.called)

    @property
    def called_port(self) -> int:
        return _port(self.called)


class LiveConnections:
    """Those of one pod; kept in the file `journal`."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._open: dict[str, bytes] | None = None
        self._written = 0

    def take(self, lines: list[bytes]) -> list[bytes]:
        """All lines but those that tell of a beginning, which are no records; what they and the ends say is remembered."""
        about = [line for line in lines if line[:1] == b"{" and (_BEGUN in line or _ENDED in line)]
        if not about:
            return lines
        self._note(about)
        return [line for line in lines if _BEGUN not in line or line[:1] != b"{"]

    def all(self) -> tuple[LiveConnection, ...]:
        """Those that are open, as far as is known; some may have ended with an Envoy that was killed."""
        return tuple(_read(line) for line in self._known().values())

    def forget(self) -> None:
        """The pod is gone, and the journal with it."""
        self._open = {}
        self._journal.unlink(missing_ok=True)

    def _note(self, lines: Iterable[bytes]) -> None:
        known, added = self._known(), bytearray()
        for line in lines:
            place = _place(line)
            if _BEGUN in line and place and (place in known or len(known) < _MOST):
                known[place] = line
                added += line + b"\n"
            elif _ENDED in line and known.pop(place, None) is not None:
                added += line + b"\n"
        if added:
            self._write(bytes(added))

    def _write(self, added: bytes) -> None:
        try:
            if self._written + len(added) > _LONGEST_JOURNAL:
                self._begin_anew()
            else:
                with self._journal.open("ab") as file:
                    file.write(added)
                self._written += len(added)
        except OSError as exc:
            # A full disk: if the agent is started again before there is room, some connections outlive a change of policy.
            _log.warning("open connections could not be remembered", path=str(self._journal), reason=str(exc))

    def _begin_anew(self) -> None:
        whole = b"".join(line + b"\n" for line in self._known().values())
        new = self._journal.with_suffix(".new")
        new.write_bytes(whole)
        new.replace(self._journal)
        # Of a journal that is long because much is open, the next longer one is written anew.
        self._written = len(whole) // 2

    def _known(self) -> dict[str, bytes]:
        if self._open is None:
            self._open = self._load()
        return self._open

    def _load(self) -> dict[str, bytes]:
        self._journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: dict[str, bytes] = {}
        with suppress(FileNotFoundError):
            content = self._journal.read_bytes()
            self._written = len(content)
            # The last line may have been cut off.
            for line in content.split(b"\n")[:-1]:
                if _BEGUN in line and (place := _place(line)):
                    found[place] = line
                else:
                    found.pop(_place(line), None)
        return found


def _place(line: bytes) -> str:
    """What tells a connection from all others that are open at the same time; empty if it cannot be told."""
    fields = _fields(line)
    caller, called = _text(fields, "ca"), _text(fields, "la")
    return f"{caller}>{called}" if _port(caller) and _port(called) else ""


def _read(line: bytes) -> LiveConnection:
    fields = _fields(line)
    identity = _text(fields, "pi")
    return LiveConnection(caller=_text(fields, "ca"), called=_text(fields, "la"), identity=identity, server_name=_text(fields, "n"))


def _fields(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _host(address: str) -> str:
    return address.rpartition(":")[0].removeprefix("[").removesuffix("]")


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() else 0
