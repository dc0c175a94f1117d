"""A terminal for a command in a pod: a pty made here, its far end handed to the command, bytes copied both ways."""

from __future__ import annotations

import fcntl
import os
import pty
import selectors
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hauberk.cli import session
from hauberk.kit.places import Places

_PIECE = 65536


def run(places: Places, message: dict[str, Any]) -> int:
    """Run the command of `message` on a new terminal joined to ours; its exit code."""
    near, far = pty.openpty()
    try:
        _copy_size(near)
        outcome: list[int | Exception] = []
        asking = threading.Thread(target=_ask, args=(places, message, far, outcome), daemon=True)
        with _raw(sys.stdin.fileno()), _following_size(near):
            asking.start()
            _copy(near, asking)
        match outcome[0] if outcome else 1:
            case Exception() as failure:
                raise failure
            case code:
                return code
    finally:
        os.close(near)


def _ask(places: Places, message: dict[str, Any], far: int, outcome: list[int | Exception]) -> None:
    try:
        answer, _ = session.ask(places, message, (far, far, far))
        outcome.append(int(answer["exit"]))
    except Exception as failure:
        outcome.append(failure)
    finally:
        # The last holder of the far end: reading the near end now fails, which ends the copying after the last byte.
        os.close(far)


def _copy(near: int, asking: threading.Thread) -> None:
    ours = sys.stdin.fileno()
    # Not epoll: that takes no file and no /dev/null for stdin.
    with selectors.PollSelector() as ready:
        ready.register(near, selectors.EVENT_READ)
        ready.register(ours, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                try:
                    piece = os.read(key.fd, _PIECE)
                except OSError:
                    piece = b""
                if key.fd == near and not piece:
                    asking.join()
                    return
                if not piece:
                    ready.unregister(ours)
                    os.write(near, b"\x04")  # end of file, said the way a terminal says it
                    continue
                _write(sys.stdout.fileno() if key.fd == near else near, piece)


def _write(descriptor: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Keys reach the command one by one, Ctrl-C too; the terminal is as before afterwards, whatever happens."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _following_size(near: int) -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda _number, _frame: _copy_size(near))
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _copy_size(near: int) -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if stream.isatty():
            fcntl.ioctl(near, termios.TIOCSWINSZ, fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, b"\0" * 8))
            return
