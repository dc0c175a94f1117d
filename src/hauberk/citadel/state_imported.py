"""One row: the files of the plugged-in authority that are followed, and which content of them was taken."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hauberk.citadel.state import State, Table, Write
from hauberk.identity.wire import milliseconds, moment

IMPORTED: Final = Table(
    name="imported",
    create=(
        """CREATE TABLE imported (
            one INTEGER PRIMARY KEY CHECK (one = 1), files TEXT NOT NULL, digest TEXT NOT NULL, authority TEXT NOT NULL,
            taken INTEGER NOT NULL, taken_by TEXT NOT NULL
        ) STRICT""",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedRow:
    """`files`: their names as JSON; `digest`: of their public content when it was taken; `authority`: the id it was given."""

    files: str
    digest: str
    authority: str
    taken: datetime
    by: str


def read_imported(state: State) -> ImportedRow | None:
    """What is followed; None: nothing was ever imported."""
    for files, digest, authority, taken, by in state.rows("SELECT files, digest, authority, taken, taken_by FROM imported"):
        return ImportedRow(files=str(files), digest=str(digest), authority=str(authority), taken=moment(int(taken or 0)), by=str(by))
    return None


def write_imported(row: ImportedRow) -> Write:
    """This is followed from now on."""
    values = (1, row.files, row.digest, row.authority, milliseconds(row.taken), row.by)
    return Write("INSERT OR REPLACE INTO imported VALUES (?, ?, ?, ?, ?, ?)", [values])
