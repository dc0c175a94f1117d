"""Init's event loop."""

import os
import signal
from collections.abc import Iterator

import pytest

from hauberk.local.loop import READABLE, Loop


@pytest.fixture
def mistakes() -> list[Exception]:
    return []


@pytest.fixture
def loop(mistakes: list[Exception]) -> Iterator[Loop]:
    before = signal.getsignal(signal.SIGUSR1)
    wakeup = signal.set_wakeup_fd(-1)
    yield Loop(mistakes.append)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGUSR1, before)


def test_timers_come_in_their_order_and_a_cancelled_one_never(loop: Loop) -> None:
    seen: list[str] = []
    loop.after(0.02, lambda: seen.append("second"))
    loop.after(0.01, lambda: seen.append("first"))
    loop.after(0.01, lambda: seen.append("never")).cancel()
    loop.after(0.03, loop.end)
    loop.run()
    assert seen == ["first", "second"]


def test_a_descriptor_is_watched_until_it_is_not(loop: Loop) -> None:
    ours, theirs = os.pipe()
    seen: list[bytes] = []

    def read(_: int) -> None:
        seen.append(os.read(ours, 1))
        if len(seen) == 2:
            loop.unwatch(ours)
            loop.after(0, loop.end)

    loop.watch(ours, READABLE, read)
    os.write(theirs, b"abc")
    loop.run()
    assert seen == [b"a", b"b"]
    os.close(ours)
    os.close(theirs)


def test_a_signal_is_handled_in_the_loop(loop: Loop) -> None:
    loop.on_signal(signal.SIGUSR1, loop.end)
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.run()


def test_a_mistake_in_one_callback_is_told_and_does_not_end_the_others(loop: Loop, mistakes: list[Exception]) -> None:
    def fail() -> None:
        raise ValueError("a mistake")

    loop.after(0, fail)
    loop.after(0, loop.end)
    loop.run()
    assert [str(mistake) for mistake in mistakes] == ["a mistake"]
