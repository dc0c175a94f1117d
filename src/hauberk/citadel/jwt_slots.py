"""The lives of the keys that sign tokens, decided from their rows: one signs, the next is published long before it does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from hauberk.citadel import slots
from hauberk.citadel.jwt_settings import JwtSettings
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot
from hauberk.identity.jwt_svid import SKEW


class JwtStep(StrEnum):
    """What is due now."""

    BEGIN = "begin"  # there is no key at all: nobody can be waiting for one to be known
    PREPARE = "prepare"
    ACTIVATE = "activate"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Due:
    """A step, and the rows it is about: what is to be activated or retired."""

    step: JwtStep
    rows: tuple[AuthorityRow, ...] = ()


def next_jwt_step(rows: Sequence[AuthorityRow], *, confirmed: bool, settings: JwtSettings, now: datetime) -> Due | None:
    """What is due, None: nothing. `confirmed`: every agent holds a Trust with all the keys of `rows`; asked only while one is prepared.

    A clock that was set back makes no key younger than it is: whatever was activated "later" than now counts as just activated.
    """
    keys = [row for row in rows if row.kind is Kind.JWT]
    active = slots.active(keys, Kind.JWT)
    if active is None:
        return Due(JwtStep.BEGIN)
    prepared = tuple(row for row in keys if row.slot is Slot.PREPARED)
    if prepared and confirmed and now - prepared[0].created >= settings.publish_ahead:
        return Due(JwtStep.ACTIVATE, prepared[:1])
    if not prepared and now - (active.activated or active.created) >= settings.key_lifetime / 2:
        return Due(JwtStep.PREPARE)
    over = tuple(row for row in keys if row.slot is Slot.OLD and row.last_expiry is not None and row.last_expiry + SKEW < now)
    return Due(JwtStep.RETIRE, over) if over else None


def activated(rows: Sequence[AuthorityRow], chosen: AuthorityRow, *, settings: JwtSettings, now: datetime) -> tuple[AuthorityRow, ...]:
    """The rows that change when `chosen` signs from now on: what the former key has signed last may live so much longer."""
    changed = slots.succeed(rows, chosen, now)
    return tuple(replace(row, last_expiry=now + settings.longest_token) if row.slot is Slot.OLD else row for row in changed)


def published(rows: Sequence[AuthorityRow]) -> tuple[AuthorityRow, ...]:
    """The keys that tokens may be checked with."""
    return tuple(row for row in rows if row.kind is Kind.JWT and row.slot in slots.TRUSTED)
