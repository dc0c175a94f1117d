import asyncio
from pathlib import Path

import pytest
from tests.unit.citadel.rig import opened

from hauberk.citadel.finishing import finished


async def test_work_is_finished_though_its_caller_gives_up() -> None:
    done: list[str] = []
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        done.append("work")
        return "result"

    caller = asyncio.create_task(finished(work()))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == ["work"]


async def test_what_the_work_returns_or_raises_is_passed_on() -> None:
    async def fails() -> None:
        raise OSError("full")

    async def works() -> int:
        return 5

    assert await finished(works()) == 5
    with pytest.raises(OSError, match="full"):
        await finished(fails())


async def test_whoever_begins_an_exchange_and_goes_away_has_begun_it_whole_or_not_at_all(tmp_path: Path) -> None:
    for yields in range(12):
        with opened(tmp_path / str(yields)) as citadel:
            asking = asyncio.create_task(citadel.rotate_root("root"))
            for _ in range(yields):
                await asyncio.sleep(0.001)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            told, progress = citadel.trust, citadel.exchange.progress
        with opened(tmp_path / str(yields)) as citadel:
            again = citadel.exchange.progress
            assert (again is None) == (progress is None)
            assert set(citadel.trust.x509_authorities) == set(told.x509_authorities)
