"""An exchange of roots that is killed at its N-th touch of the disk, for every N there is; after each, another process goes on with it.

Says as JSON how many touches there were, and for each kill what was wrong afterwards: nothing, it is to be hoped.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import structlog
from tests.unit.citadel.rig import HandClock, PlayedAgent, opened

from hauberk.citadel.authorities import Authorities
from hauberk.citadel.key_file import FileKeyStore
from hauberk.citadel.ledger import Ledger
from hauberk.citadel.overview import RotationView
from hauberk.citadel.state import State

TOUCHES: tuple[tuple[type, str], ...] = (
    (State, "commit"),
    (FileKeyStore, "adopt"),
    (FileKeyStore, "destroy"),
    (Authorities, "keep_copy"),
    (Ledger, "flush"),
)
ROUNDS = 40
MEMORY = Path("/dev/shm")  # a hundred databases: what survives a kill, not what survives a power cut


def arm(number: int) -> None:
    """This process is killed at the `number`-th moment before or after something that touches the disk."""
    moments = count(1)

    def moment() -> None:
        if next(moments) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def touch(*arguments: Any, **named: Any) -> Any:
            moment()
            result = function(*arguments, **named)
            moment()
            return result

        return touch

    for kind, name in TOUCHES:
        setattr(kind, name, around(getattr(kind, name)))


async def exchange(directory: Path, *, back: bool) -> str:
    """The exchange is begun, or gone on with, to its end; what is wrong then."""
    with opened(directory, HandClock()) as citadel:
        agent = PlayedAgent(citadel)
        await agent.start("web-1")
        if citadel.rotation() is None:
            await citadel.rotate_root("root")
        for number in range(ROUNDS):
            await citadel.housekeeping.tidy()
            if not citadel.exchange.going_on:
                break
            await agent.obey()
            if back and number == 1 and (view := citadel.rotation()) is not None and view.abortable:
                await citadel.abort_rotation("root")
        return await judge(citadel, agent)


async def judge(citadel: Any, agent: PlayedAgent) -> str:
    if citadel.exchange.going_on:
        return f"it is not over: {citadel.exchange.progress} {citadel.exchange.waiting}"
    roots, views = citadel.trust.x509_authorities, citadel.overview().authorities
    if len(roots) != 1 or citadel.trust.renew:
        return f"{len(roots)} roots are trusted, to be renewed: {citadel.trust.renew}"
    if missing := {view.id for view in views} - citadel.ground.keys.ids():
        return f"keys are missing: {missing}"
    svid = await agent.start("web-2")
    svid.chain[0].verify_directly_issued_by(svid.chain[1])
    svid.chain[1].verify_directly_issued_by(roots[0])
    rotation: RotationView | None = citadel.rotation()
    return "" if rotation is not None and rotation.stage == "done" else f"nothing was exchanged: {rotation}"


def forked(work: Callable[[], str], report: Path) -> int:
    """How a child that does `work` ended: 0, or the signal; what it returned is in `report`."""
    child = os.fork()
    if child == 0:
        report.write_text(work())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory())
    back = "--back" in sys.argv
    wrong: dict[int, str] = {}
    for number in count(1):
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
            directory, report = Path(name) / "mesh", Path(name) / "report"

            def begin(directory: Path = directory, number: int = number) -> str:
                # The mesh is there already: what is killed is the exchange, not the first start.
                with opened(directory):
                    pass
                arm(number)
                return asyncio.run(exchange(directory, back=back))

            if forked(begin, report) == 0:
                print(json.dumps({"touches": number - 1, "wrong": wrong, "unhurt": report.read_text()}))
                return
            if forked(lambda directory=directory: asyncio.run(exchange(directory, back=False)), report) != 0:  # type: ignore[misc] # a default
                wrong[number] = "it could not be gone on with"
            elif problem := report.read_text():
                wrong[number] = problem


if __name__ == "__main__":
    main()
