"""The door of the Workload API for processes that are in no pod: a process of the mesh that stayed outside of its namespaces.

Inside them the agent sees neither the machine's processes nor (rootless) what the machine lets their own user see. So this process
listens, asks the kernel who connects, and hands each connection to the agent together with a pidfd; what the agent wants to know of
the process behind a pidfd, it looks up. It decides nothing and holds no secret. It ends when init has ended.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import stat
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hauberk.linux.evidence import Examiner, Unprovable
from hauberk.linux.packet import PacketMalformed, close_all, receive_packet, send_packet
from hauberk.linux.peer import PeerGone, open_peer
from hauberk.local import logfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from hauberk.kit.places import Places

KEPT: Final = "workload-door"  # init keeps its end under this name, for each agent to take
_BACKLOG: Final = 128
_PASSABLE: Final = 0o111
_MOST_WAITING: Final = 64  # questions about one user's processes; each holds descriptors that the others need
_RESTART_SECONDS: Final = 0.2  # one that dies again and again must not eat the machine


def start(places: Places, *, rootless: bool, close: tuple[int, ...]) -> socket.socket | None:
    """Our end of a door that stands, None if it could not be made (the mesh goes on without it). `close` is not for the door.

    To be called before any namespace is entered, by a process with one thread.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener = _listen(places.workload_socket, rootless=rootless)
    except OSError as error:
        logfile.write_line(2, "processes outside of pods get no identity", path=str(places.workload_socket), why=str(error))
        ours.close()
        theirs.close()
        return None
    if os.fork() == 0:
        try:
            ours.close()
            close_all(close)
            _keep(listener, theirs)
            places.workload_socket.unlink(missing_ok=True)
        finally:
            os._exit(0)
    listener.close()
    theirs.close()
    return ours


def _listen(path: Path, *, rootless: bool) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(str(path))
        if rootless:
            path.chmod(0o600)  # of all processes that may have an identity, none is another user's
        else:
            # Everybody may ask, and is answered by what he is.
            path.chmod(0o666)
            _open_way(path.parent)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _open_way(directory: Path) -> None:
    """Everybody can pass through `directory`; whatever else its mode says it goes on saying, for it need not be ours alone.

    Names below it are guessed easily; what they lead to is protected by modes of its own.
    """
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & _PASSABLE != _PASSABLE:
        directory.chmod(mode | _PASSABLE)


def _keep(listener: socket.socket, channel: socket.socket) -> None:
    """The door is served until init has ended, by another process if one dies: init could not make another outside of its namespaces."""
    while True:
        serving = os.fork()
        if serving == 0:
            code = 1
            try:
                _serve(listener, channel)
                code = 0
            finally:
                os._exit(code)
        if os.waitpid(serving, 0)[1] == 0:
            return
        time.sleep(_RESTART_SECONDS)


def _serve(listener: socket.socket, channel: socket.socket) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's; init is asked to end, and this follows
    examiner, turns, sending = Examiner(), Turns(), threading.Lock()
    with selectors.DefaultSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(channel, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in waiting.select()}
            if channel in ready and not _heed(channel, examiner, turns, sending):
                break
            if listener in ready:
                _let_in(listener, channel, sending)


def _let_in(listener: socket.socket, channel: socket.socket, sending: threading.Lock) -> None:
    """Who has connected is handed to the agent; if none has taken the last ones yet, he is turned away."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    with connection:
        try:
            peer = open_peer(connection)
        except (PeerGone, OSError):
            return
        caller = {"op": "caller", "pid": peer.pid, "uid": peer.uid, "gid": peer.gid}
        try:
            with sending:
                channel.setblocking(False)
                try:
                    send_packet(channel, caller, (connection.fileno(), peer.pidfd))
                finally:
                    channel.setblocking(True)
        except OSError:
            return
        finally:
            os.close(peer.pidfd)


def _heed(channel: socket.socket, examiner: Examiner, turns: Turns, sending: threading.Lock) -> bool:
    """Whether there is still somebody to serve: one question was read, and is answered when its user's turn comes."""
    try:
        packet = receive_packet(channel)
    except PacketMalformed:
        return True
    except OSError:
        return False
    if packet is None:
        return False
    question, descriptors = packet

    def answer() -> None:
        try:
            document = {"op": "evidence", "id": question.get("id", 0), **_examined(examiner, question, descriptors)}
            with sending, suppress(OSError):  # who has gone is missed where he is listened to
                send_packet(channel, document)
        finally:
            close_all(descriptors)

    if not turns.take(str(question.get("uid")), answer):
        close_all(descriptors)  # whoever has asked gives up waiting
    return True


class Turns:
    """A thread for each user of whom something is to be found out: files that are slow to read are read at his own expense alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def take(self, user: str, work: Callable[[], None]) -> bool:
        """Whether `work`, which raises nothing, will be done: after what is to be done for this user already, if that is not too much."""
        with self._lock:
            if (waiting := self._waiting.get(user)) is not None:
                if len(waiting) < _MOST_WAITING:
                    waiting.append(work)
                    return True
                return False
            self._waiting[user] = deque()
        threading.Thread(target=self._do, args=(user, work), daemon=True).start()
        return True

    def _do(self, user: str, first: Callable[[], None]) -> None:
        work: Callable[[], None] | None = first
        while work is not None:
            work()
            with self._lock:
                if waiting := self._waiting[user]:
                    work = waiting.popleft()
                else:
                    work = None
                    del self._waiting[user]


def _examined(examiner: Examiner, question: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
    try:
        uid, gid = int(question["uid"]), int(question["gid"])
        return {"evidence": examiner.examine(descriptors[0], uid=uid, gid=gid, digest=bool(question["digest"]))}
    except (PeerGone, Unprovable) as exc:
        return {"refused": str(exc)}
    except (KeyError, IndexError, TypeError, ValueError, OSError) as exc:
        return {"refused": f"the question is not understood: {type(exc).__name__}"}
