"""The event loop of the init process: descriptors, timers and signals, in one thread and few bytes."""

from __future__ import annotations

import heapq
import itertools
import select
import signal
import socket
import time
from collections.abc import Callable

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
_LOST = select.EPOLLERR | select.EPOLLHUP


class Timer:
    """Something that is due once; cancelled, it never happens."""

    __slots__ = ("act", "cancelled")

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Calls whom something has happened to, until `end`."""

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._signals: dict[int, Callable[[], None]] = {}
        self._running = False
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self.watch(self._woken.fileno(), READABLE, self._on_signal)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)

    def watch(self, descriptor: int, events: int, callback: Callable[[int], None]) -> None:
        """`callback(events)` is called whenever one of `events`, or an end, is seen at `descriptor`."""
        if descriptor in self._callbacks:
            self._poll.modify(descriptor, events)
        else:
            self._poll.register(descriptor, events)
        self._callbacks[descriptor] = callback

    def unwatch(self, descriptor: int) -> None:
        """Nothing is called for `descriptor` any more; to be called before it is closed."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def on_signal(self, number: signal.Signals, callback: Callable[[], None]) -> None:
        """`callback()` is called, in the loop, after that signal has arrived (once for several at a time)."""
        self._signals[number] = callback
        signal.signal(number, lambda *_: None)

    def after(self, seconds: float, act: Callable[[], None]) -> Timer:
        """`act()` is called in so many seconds."""
        timer = Timer(act)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Returns after `end` was called."""
        self._running = True
        while self._running:
            self._run_due()
            for descriptor, events in self._poll.poll(self._patience()):
                # A callback before this one may have stopped watching it.
                if (callback := self._callbacks.get(descriptor)) is not None:
                    self._call(callback, events)

    def end(self) -> None:
        self._running = False

    def _patience(self) -> float | None:
        if not self._running:
            return 0
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_due(self) -> None:
        while self._timers and (self._timers[0][2].cancelled or self._timers[0][0] <= time.monotonic()):
            _, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self._call(timer.act)

    def _on_signal(self, _: int) -> None:
        for number in dict.fromkeys(self._woken.recv(4096)):
            if (callback := self._signals.get(number)) is not None:
                self._call(callback)

    def _call(self, act: Callable[..., None], *arguments: int) -> None:
        # One request that meets a mistake of ours must not take every running pod with it: the mistake is told, the loop goes on.
        try:
            act(*arguments)
        except Exception as error:
            self._on_error(error)


def lost(events: int) -> bool:
    """Whether `events` say that the other end is gone."""
    return bool(events & _LOST)
