"""A command that goes on running inside a pod while a test does something else."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from hauberk.cli import session
from hauberk.cli.failure import Failure
from hauberk.kit.places import Places
from hauberk.testing.answer import Completed, MeshFailed

_PATIENCE = 60.0  # seconds until waiting for a line is given up


class Running:
    """The command's standard streams and its end. At the end of a `with` block its input is closed and it is waited for."""

    def __init__(self, places: Places, message: Mapping[str, Any]) -> None:
        their_in, self._input = os.pipe()
        self._output, their_out = os.pipe()
        self._errors, their_err = os.pipe()
        self._exit: int | None = None
        self._failure: Failure | None = None
        self._seen: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()  # None: there is no more
        theirs = (their_in, their_out, their_err)
        self._session = threading.Thread(target=self._run, args=(places, dict(message), theirs), daemon=True)
        self._session.start()
        self._complaints: list[str] = []
        self._listeners = [threading.Thread(target=listen, daemon=True) for listen in (self._listen, self._listen_to_errors)]
        for listener in self._listeners:
            listener.start()

    def expect(self, text: str, *, timeout: float = _PATIENCE) -> str:
        """The next line of output that holds `text`; MeshFailed with what came instead if the command ends or `timeout` is over."""
        deadline = time.monotonic() + timeout
        while (line := self._next_line(deadline - time.monotonic())) is not None:
            if text in line:
                return line
        raise MeshFailed(f"{text!r} was not printed:\n{''.join(self._seen)}{''.join(self._complaints)}")

    def say(self, line: str) -> None:
        """The command can read `line` from its standard input."""
        os.write(self._input, f"{line}\n".encode())

    def close_input(self) -> None:
        """The command's standard input has ended."""
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def wait(self) -> Completed:
        """The command has ended; all that it printed."""
        self._session.join()
        for listener in self._listeners:
            listener.join()
        while self._next_line(0.0) is not None:
            pass
        if self._failure is not None:
            raise MeshFailed("\n".join(self._failure.lines()))
        return Completed(self._exit if self._exit is not None else 1, "".join(self._seen), "".join(self._complaints))

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close_input()
        self._session.join()

    def _next_line(self, seconds: float) -> str | None:
        """The next line of output; None if there is none in time, or no more."""
        try:
            line = self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if line is None:
            self._lines.put(None)
        else:
            self._seen.append(line)
        return line

    def _run(self, places: Places, message: dict[str, Any], theirs: Sequence[int]) -> None:
        try:
            answer, _ = session.ask(places, message, theirs)
            self._exit = int(answer["exit"])
        except Failure as failure:
            self._failure = failure
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def _listen(self) -> None:
        with os.fdopen(self._output, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def _listen_to_errors(self) -> None:
        with os.fdopen(self._errors, encoding="utf-8", errors="replace") as stream:
            self._complaints.extend(stream)
