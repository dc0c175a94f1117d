"""Two single rows: how far the exchange of the root has come, and which sequence of the Trust was published last."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hauberk.citadel.state import State, Table, Write
from hauberk.identity.wire import milliseconds, moment

PROGRESS: Final = Table(
    name="progress",
    create=(
        """CREATE TABLE progress (
            one INTEGER PRIMARY KEY CHECK (one = 1), stage TEXT NOT NULL, new TEXT NOT NULL, old TEXT NOT NULL, since INTEGER NOT NULL,
            started INTEGER NOT NULL, entered INTEGER NOT NULL, aborting INTEGER NOT NULL, started_by TEXT NOT NULL
        ) STRICT""",
    ),
)
PUBLISHED: Final = Table(
    name="published",
    create=("CREATE TABLE published (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL) STRICT",),
)


class Stage(StrEnum):
    """What is waited for; between two of them lies one change of the slots, made and recorded in one transaction."""

    DISTRIBUTE = "distribute"  # that everybody trusts the new root
    RENEW = "renew"  # that nothing signed below the old root lives
    CONFIRM = "confirm"  # that nobody trusts the old root any more
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One exchange of roots, `old` for `new`. `since`: the Trust's sequence that must be confirmed; `aborting`: it is going back."""

    stage: Stage
    new: str
    old: str
    since: int
    started: datetime
    entered: datetime
    aborting: bool = False
    by: str = ""


def read_progress(state: State) -> Progress | None:
    """The exchange that is going on, or the last one, which is done; None: there never was one."""
    query = "SELECT stage, new, old, since, started, entered, aborting, started_by FROM progress"
    for stage, new, old, since, started, entered, aborting, by in state.rows(query):
        return Progress(
            stage=Stage(str(stage)),
            new=str(new),
            old=str(old),
            since=int(since or 0),
            started=moment(int(started or 0)),
            entered=moment(int(entered or 0)),
            aborting=bool(aborting),
            by=str(by),
        )
    return None


def write_progress(progress: Progress) -> Write:
    """This is how far it has come."""
    times = (progress.since, milliseconds(progress.started), milliseconds(progress.entered))
    row = (1, progress.stage.value, progress.new, progress.old, *times, int(progress.aborting), progress.by)
    return Write("INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [row])


def read_sequence(state: State) -> int:
    """The last one published; 0: none."""
    return max((int(number or 0) for (number,) in state.rows("SELECT sequence FROM published")), default=0)


def write_sequence(sequence: int) -> Write:
    """It will be published."""
    return Write("INSERT OR REPLACE INTO published VALUES (1, ?)", [(sequence,)])
