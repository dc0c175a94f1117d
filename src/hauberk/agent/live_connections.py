"""The connections of bytes to a pod's program that are open: who made each, as its sidecar saw and decided it.

A request that was upgraded, to a WebSocket for instance, is one from then on. Read from the lines that the sidecar writes when such a
connection is made and when it ends. No other place knows all of it: the kernel
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
from hauberk.translate.access_log import LONGEST, UPGRADE_KIND

# A quotation mark inside of a value is escaped: no caller can write these.
_BEGUN: Final = b'"e":"TcpUpstreamConnected"'
_ENDED: Final = b'"e":"TcpConnectionEnd"'
_UPGRADED: Final = b'"e":"DownstreamTunnelSuccessfullyEstablished"'
_UPGRADE_OVER: Final = b'"e":"DownstreamEnd"'
# These are no records: a request that was upgraded has a line of its own when it is over.
_NO_RECORDS: Final = (_BEGUN, _UPGRADED, _UPGRADE_OVER)
_EVENTS: Final = (*_NO_RECORDS, _ENDED)
# Over HTTP/2 a program is sent many requests by one connection, which cannot end for one of them.
_OF_ONE_REQUEST: Final = "HTTP/1.1"
_MOST: Final = 100_000  # connections of one pod; what a sidecar that has gone mad writes must not fill the memory
_LONGEST_JOURNAL: Final = 1 << 20  # bytes beyond which it is written anew if most of it is about connections that have ended

_log = logger("records")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """The request that a connection began as; `client` is the address of who sent it, as trusted hops name it.

    `host` and `path` are empty if they were too long to be written down. `near` and `far` are the ends of the sidecar's connection to the
    program, which is for this request alone; that to the caller need not be.
    """

    method: str
    host: str
    path: str
    client: str
    near: str
    far: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveConnection:
    """`caller` and `called` are addresses with ports, `called` as before interception; `identity` is empty without mutual TLS."""

    caller: str
    called: str
    identity: str = ""
    server_name: str = ""
    upgrade: Upgrade | None = None

    @property
    def caller_host(self) -> str:
        return host_of(self.caller)

    @property
    def caller_port(self) -> int:
        return port_of(self.caller)

    @property
    def called_host(self) -> str:
        return host_of(self.called)

    @property
    def called_port(self) -> int:
        return port_of(self.called)


class LiveConnections:
    """Those of one pod; kept in the file `journal`."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._open: dict[str, bytes] | None = None
        self._written = 0

    def take(self, lines: list[bytes]) -> list[bytes]:
        """The lines that are records; what is said of beginnings and ends is remembered."""
        about = [line for line in lines if line[:1] == b"{" and _any(_EVENTS, line)]
        if not about:
            return lines
        self._note(about)
        return [line for line in lines if line[:1] != b"{" or not _any(_NO_RECORDS, line)]

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
            if _begins(line) and place and (place in known or len(known) < _MOST):
                known[place] = line
                added += line + b"\n"
            elif not _begins(line) and known.pop(place, None) is not None:
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
                if _begins(line) and (place := _place(line)):
                    found[place] = line
                else:
                    found.pop(_place(line), None)
        return found


def _any(events: Iterable[bytes], line: bytes) -> bool:
    return any(event in line for event in events)


def _begins(line: bytes) -> bool:
    return _BEGUN in line or _UPGRADED in line


def _place(line: bytes) -> str:
    """What tells a connection from all others that are open at the same time; empty if it cannot be told."""
    fields = _fields(line)
    if fields.get("k") == UPGRADE_KIND:
        return _place_of_upgrade(fields)
    caller, called = _text(fields, "ca"), _text(fields, "la")
    return f"{caller}>{called}" if port_of(caller) and port_of(called) else ""


def _place_of_upgrade(fields: dict[str, Any]) -> str:
    near, far = _text(fields, "ul"), _text(fields, "ur")
    alone = _text(fields, "uv") == _OF_ONE_REQUEST
    # A request that was refused an upgrade leaves the connection to the next one, which is told from it by when it came.
    return f"{near}>{far}@{_text(fields, 't')}" if alone and port_of(near) and port_of(far) else ""


def _read(line: bytes) -> LiveConnection:
    fields = _fields(line)
    return LiveConnection(
        caller=_text(fields, "ca"),
        called=_text(fields, "la"),
        identity=_text(fields, "pi"),
        server_name=_text(fields, "n"),
        upgrade=_upgrade(fields) if fields.get("k") == UPGRADE_KIND else None,
    )


def _upgrade(fields: dict[str, Any]) -> Upgrade:
    host, path = ("" if len(text) >= LONGEST else text for text in (_text(fields, "a"), _text(fields, "p")))
    near, far = _text(fields, "ul"), _text(fields, "ur")
    return Upgrade(method=_text(fields, "m"), host=host, path=path, client=_text(fields, "ra"), near=near, far=far)


def _fields(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def host_of(address: str) -> str:
    """Of an address with a port."""
    return address.rpartition(":")[0].removeprefix("[").removesuffix("]")


def port_of(address: str) -> int:
    """Of an address with a port; 0 if it has none."""
    port = address.rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() else 0
