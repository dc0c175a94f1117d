"""A value that changes, and those who want to know."""

import asyncio

from hauberk.kit.watched import Watched


def test_who_subscribed_hears_each_value_until_he_has_enough() -> None:
    watched, heard = Watched[int](), list[int]()
    watched.set(1)
    leave = watched.subscribe(heard.append)
    watched.set(2)
    watched.set(3)
    leave()
    watched.set(4)
    assert (heard, watched.value) == ([2, 3], 4)


async def test_who_asks_gets_the_value_there_is_and_then_the_newest() -> None:
    watched = Watched(1)
    changes = watched.changes()
    assert await anext(changes) == 1
    watched.set(2)
    watched.set(3)
    assert await anext(changes) == 3
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    assert not waiting.done()
    watched.set(4)
    assert await waiting == 4


async def test_the_first_value_is_waited_for() -> None:
    watched = Watched[str]()
    waiting = asyncio.ensure_future(watched.first())
    await asyncio.sleep(0)
    watched.set("here")
    assert await waiting == "here"
