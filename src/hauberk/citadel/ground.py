"""What every part of the authority stands on: its state, the Trust it publishes, its ledger, its keys and the time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from hauberk.citadel.key_file import FileKeyStore
from hauberk.citadel.key_store import KeyStore
from hauberk.citadel.ledger import Ledger
from hauberk.citadel.publication import Publication
from hauberk.citadel.state import State
from hauberk.citadel.state_tables import TABLES
from hauberk.identity.event import Event
from hauberk.kit.clock import Clock

DATABASE: Final = "citadel.db"
AUDIT: Final = "identity.jsonl"


@dataclass(frozen=True, slots=True)
class Ground:
    """Opened once, before the parts (`Citadel`, revocations, nodes, tokens, federation) that are made from it."""

    directory: Path
    trust_domain: str
    clock: Clock
    keys: KeyStore
    state: State
    ledger: Ledger
    publication: Publication

    @classmethod
    def open(cls, directory: Path, *, trust_domain: str, clock: Clock, audit: Path, keys: KeyStore | None = None) -> Self:
        """The authority kept in `directory`, which is made if need be, with its ledger in the directory `audit`.

        `keys` None: plain files in `directory`. Raises StateUnusable and KeyUnreadable.
        """
        if keys is None:
            keys = FileKeyStore(directory)
            keys.prepare()
        state = State.open(directory / DATABASE, TABLES)
        ledger = Ledger(audit / AUDIT)
        return cls(directory, trust_domain, clock, keys, state, ledger, Publication(state, trust_domain, clock.now))

    async def audit(self, event: Event, *more: Event) -> None:
        """The events are in the ledger."""
        for each in (event, *more):
            self.ledger.record(each)
        await self.flush()

    async def flush(self) -> None:
        """Whatever was recorded is in the ledger."""
        await self.state.begin(self.ledger.flush)

    def close(self) -> None:
        """Everything is on disk and the database is released."""
        self.state.close()
        self.ledger.flush()
