"""The revocation lists (CRLs) that go with the Trust: one of every issuing authority that is trusted, or none at all."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.citadel import slots
from hauberk.citadel.authorities import Authorities, certificate_of
from hauberk.citadel.key_store import KeyUnreadable, Signer
from hauberk.citadel.state_authorities import AuthorityRow, Kind
from hauberk.identity.crl import RevokedCertificate, build_crl, can_sign_crls
from hauberk.identity.wire import milliseconds
from hauberk.kit.log import logger

# A certificate stays listed for so long after its end: the peers' clocks may be behind.
LISTED_AFTER_EXPIRY: Final = timedelta(hours=1)

_log = logger("citadel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One certificate that is not to be believed.

    `authority_id` and `pod` (the uid of its holder) are empty where the ledger does not know it, or its holder is no pod.
    """

    serial: str
    since: datetime
    authority_id: str = ""
    pod: str = ""
    not_after: datetime | None = None

    def matters(self, now: datetime) -> bool:
        """Whether somebody's clock may still take it for valid."""
        return self.not_after is None or now < self.not_after + LISTED_AFTER_EXPIRY


class RevocationLists:
    """Signs lists, and remembers them: what has not changed is not signed again."""

    def __init__(self, authorities: Authorities, now: Callable[[], datetime]) -> None:
        self._authorities = authorities
        self._now = now
        self._number = 0
        self._signed: dict[str, tuple[frozenset[str], bytes]] = {}
        self.problem = ""  # why there are no lists, or not all are the newest; empty: they are as they should be

    def build(self, rows: slots.Rows, listed: Iterable[Listed]) -> tuple[bytes, ...]:
        """The lists (DER) of all issuing authorities in `rows` that are trusted; none if nothing is listed.

        A proxy that has one list demands one of everybody's issuer: if one authority can sign none, there are none. One that could, and
        cannot any more, leaves its last. What the lists then lack is refused by the proxies' own filters, and open connections end.
        """
        certificates, problem = tuple(listed), ""
        kept: dict[str, tuple[frozenset[str], bytes]] = {}
        for row in _trusted(rows) if certificates else ():
            own = [each for each in certificates if each.authority_id in ("", row.id)]
            serials = frozenset(each.serial for each in own)
            last = self._signed.get(row.id)
            if last is None or last[0] != serials:
                signed = self._sign(row, own)
                if signed is None and last is None:
                    self._tell(f"there are no revocation lists, since {row.id} can sign none: its key cannot be used, or may not sign them")
                    return ()
                if signed is None:
                    problem = f"the revocation list of {row.id} does not say what has changed last, since its key cannot be used any more"
                else:
                    last = serials, signed
            assert last is not None
            kept[row.id] = last
        self._tell(problem)
        self._signed = kept
        return tuple(each for _, each in kept.values())

    def _tell(self, problem: str) -> None:
        if problem and problem != self.problem:
            _log.warning("revocation lists", reason=problem)
        self.problem = problem

    def _sign(self, row: AuthorityRow, own: Iterable[Listed]) -> bytes | None:
        signer = self._signer(row)
        if signer is None:
            return None
        # Never lower than before, also if the clock is set back.
        self._number = max(self._number + 1, milliseconds(self._now()))
        revoked = (RevokedCertificate(serial=each.serial, since=each.since) for each in own)
        try:
            return signer.sign_crl(build_crl(certificate_of(row), revoked, self._number)).public_bytes(Encoding.DER)
        except KeyUnreadable:
            return None

    def _signer(self, row: AuthorityRow) -> Signer | None:
        if not can_sign_crls(certificate_of(row)):
            return None
        try:
            return self._authorities.signer(row.id)
        except KeyUnreadable:
            return None


def _trusted(rows: slots.Rows) -> Iterator[AuthorityRow]:
    return (row for row in rows if row.kind is Kind.ISSUING and row.slot in slots.TRUSTED)
