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
        self._signed: dict[tuple[str, frozenset[str]], bytes] = {}

    def build(self, rows: slots.Rows, listed: Iterable[Listed]) -> tuple[bytes, ...]:
        """The lists (DER) of all issuing authorities in `rows` that are trusted; none if nothing is listed.

        A proxy that has one list demands one of everybody's issuer: if one authority cannot sign its own, there are none. What is then
        left are the proxies' own filters, and the end of open connections.
        """
        certificates = tuple(listed)
        if not certificates:
            self._signed.clear()
            return ()
        signers = []
        for row in _trusted(rows):
            signer = self._signer(row)
            if signer is None:
                _log.warning("there are no revocation lists: an issuing authority cannot sign one", id=row.id)
                return ()
            signers.append((row, signer))
        kept = {key: each for row, signer in signers for key, each in [self._list(row, signer, certificates)]}
        self._signed = kept
        return tuple(kept.values())

    def _list(self, row: AuthorityRow, signer: Signer, listed: tuple[Listed, ...]) -> tuple[tuple[str, frozenset[str]], bytes]:
        own = [each for each in listed if each.authority_id in ("", row.id)]
        key = (row.id, frozenset(each.serial for each in own))
        if (known := self._signed.get(key)) is not None:
            return key, known
        # Never lower than before, also if the clock is set back.
        self._number = max(self._number + 1, milliseconds(self._now()))
        revoked = (RevokedCertificate(serial=each.serial, since=each.since) for each in own)
        signed = signer.sign_crl(build_crl(certificate_of(row), revoked, self._number))
        return key, signed.public_bytes(Encoding.DER)

    def _signer(self, row: AuthorityRow) -> Signer | None:
        if not can_sign_crls(certificate_of(row)):
            return None
        try:
            return self._authorities.signer(row.id)
        except KeyUnreadable:
            return None


def _trusted(rows: slots.Rows) -> Iterator[AuthorityRow]:
    return (row for row in rows if row.kind is Kind.ISSUING and row.slot in slots.TRUSTED)
