"""What every part of the authority stands on: its state, the Trust it publishes, its ledger, its keys and the time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from hauberk.citadel.key_file import FileKeyStore
from hauberk.citadel.key_store import KeyStore
from hauberk.citadel.ledger import Ledger, open_ledger
from hauberk.citadel.publication import Publication
from hauberk.citadel.state import State, StateUnusable
from hauberk.citadel.state_names import read_names, write_name
from hauberk.citadel.state_tables import TABLES
from hauberk.identity.event import Event
from hauberk.kit.clock import Clock

DATABASE: Final = "citadel.db"


@dataclass(frozen=True, slots=True)
class Ground:
    """Opened once, before the parts (`Citadel`, revocations, nodes, tokens, federation) that are made from it."""

    directory: Path
    clock: Clock
    keys: KeyStore
    state: State
    ledger: Ledger
    publication: Publication

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        trust_domain: str,
        aliases: Sequence[str] = (),
        clock: Clock,
        audit: Path,
        keys: KeyStore | None = None,
    ) -> Self:
        """The authority kept in `directory`, which is made if need be, with its ledger, the mesh's audit log, in `audit`.

        `trust_domain` is believed the first time; after that the authority knows its name, which must be that or one of the `aliases`,
        and `Renaming` changes it.

        `keys` None: plain files in `directory`. Raises StateUnusable, KeyUnreadable, AuditLogBusy and OSError.
        """
        if keys is None:
            keys = FileKeyStore(directory)
            keys.prepare()
        state = State.open(directory / DATABASE, TABLES)
        try:
            current = _own_name(state, trust_domain, aliases, clock)
            publication = Publication(state, current, clock.now)
            ledger = open_ledger(audit, keys, clock.now())
        except BaseException:
            state.close()
            raise
        others = tuple(name for name in dict.fromkeys((trust_domain, *aliases)) if name != current)
        publication.preset(lambda trust: replace(trust, aliases=others))
        return cls(directory, clock, keys, state, ledger, publication)

    @property
    def trust_domain(self) -> str:
        """In which certificates are issued now."""
        return self.publication.trust.trust_domain

    @property
    def names(self) -> tuple[str, ...]:
        """Every trust domain that was ever the mesh's own."""
        return read_names(self.state)

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
        self.ledger.close()


def _own_name(state: State, trust_domain: str, aliases: Sequence[str], clock: Clock) -> str:
    """In which domain certificates are issued until a renaming is proven."""
    known = read_names(state)
    if not known:
        state.commit(write_name(trust_domain, clock.now(), state))
        return trust_domain
    if known[-1] not in (trust_domain, *aliases):
        reason = f"its certificates are of trust domain {known[-1]}, and the mesh's settings name only {trust_domain}"
        raise StateUnusable(state.path, reason, f"name {known[-1]} in the settings as trustDomain or among trustDomainAliases")
    return known[-1]
