"""The authorities of one trust domain: their rows in memory and on disk, their certificates, and signers for their keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.citadel import slots
from hauberk.citadel.key_store import KeyAbsent, KeyAlgorithm, KeyStore, KeyUnreadable, Signer
from hauberk.citadel.private_file import write_private
from hauberk.citadel.serials import serial_text
from hauberk.citadel.state import State, Write
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot, read_authorities, write_authorities
from hauberk.identity.template import InvalidTemplate, build_issuing, build_root
from hauberk.identity.trust_bundle import to_pem

_COPY: Final = ".crt"
_SERIAL_DIGITS: Final = 12


class NoIssuer(RuntimeError):
    """No authority can sign now; the message says why and what to do."""


@dataclass(frozen=True)
class Issuing:
    """The authority that signs leaves: what is needed for each is parsed once."""

    id: str
    certificate: x509.Certificate
    signer: Signer
    above: tuple[x509.Certificate, ...]  # sent after it, up to but without the root
    root_not_before: datetime

    @cached_property
    def chain_der(self) -> tuple[bytes, ...]:
        """Its own certificate, and what is between it and the root."""
        return tuple(each.public_bytes(Encoding.DER) for each in (self.certificate, *self.above))

    @cached_property
    def _begin(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @cached_property
    def _half(self) -> datetime:
        return self._begin + (self.certificate.not_valid_after_utc - self._begin) / 2

    def is_due(self, now: datetime) -> bool:
        """Whether another is to be made: half its life is over, or the clock was set back to before it.

        While the root is not valid either, no better one could be made, and each request would make one.
        """
        return now >= self._half if now >= self._begin else now >= self.root_not_before


class Authorities:
    """What there is. Rows change in memory once they have changed on disk: `write` (or `Publication`), then `take`."""

    def __init__(self, state: State, keys: KeyStore, directory: Path, trust_domain: str) -> None:
        self.rows: tuple[AuthorityRow, ...] = read_authorities(state)
        self.trust_domain = trust_domain
        self._keys = keys
        self._directory = directory
        self._issuing: Issuing | None = None

    def take(self, changed: Iterable[AuthorityRow]) -> None:
        """These rows are on disk."""
        self.rows = slots.merged(self.rows, changed)
        self._issuing = None

    def write(self, changed: Iterable[AuthorityRow]) -> Write:
        """What puts them there. Copies of their certificates beside the keys outlive a lost database."""
        rows = tuple(changed)
        for row in rows:
            self.keep_copy(row)
        return write_authorities(rows)

    def find(self, identifier: str) -> AuthorityRow | None:
        """The authority of that id."""
        return next((row for row in self.rows if row.id == identifier), None)

    @property
    def issuing(self) -> Issuing:
        """Who signs leaves now; raises NoIssuer."""
        if self._issuing is None:
            self._issuing = self._open_issuing()
        return self._issuing

    def _open_issuing(self) -> Issuing:
        row = slots.active(self.rows, Kind.ISSUING)
        if row is None:
            raise NoIssuer("there is no issuing key: run `hauberk ca rotate`, or `hauberk ca rotate --root` if the root's key is lost too")
        own, *above = certificates_of(row)
        try:
            root = self.find(row.parent)
            root_not_before = certificate_of(root).not_valid_before_utc if root else own.not_valid_before_utc
            return Issuing(row.id, own, self._keys.open(row.id), tuple(above), root_not_before)
        except KeyUnreadable as exc:
            raise NoIssuer(str(exc)) from exc

    def signer(self, identifier: str) -> Signer | None:
        """Who signs as this authority; None if its key is not kept here (an offline or a foreign root)."""
        try:
            return self._keys.open(identifier)
        except KeyAbsent:
            return None

    def has_key(self, identifier: str) -> bool:
        """Whether its key is kept here."""
        return identifier in self._keys.ids()

    def make_root(self, serial: int, now: datetime, lifetime: timedelta) -> AuthorityRow:
        """A new root with a key of its own, prepared. Until its row is written a crash leaves no more than a key nobody knows."""
        identifier = f"root-{serial_text(serial)[:_SERIAL_DIGITS]}"
        signer = self._keys.create(identifier, KeyAlgorithm.ECDSA_P256)
        template = build_root(trust_domain=self.trust_domain, public_key=signer.public_key, serial=serial, now=now, lifetime=lifetime)
        certificate = signer.sign_certificate(template)
        return AuthorityRow(id=identifier, kind=Kind.ROOT, slot=Slot.PREPARED, public=to_pem(certificate), created=now)

    def make_issuing(self, root: AuthorityRow, serial: int, now: datetime, lifetime: timedelta) -> AuthorityRow:
        """A new issuing authority below `root`, prepared; raises NoIssuer if the root cannot sign one, KeyUnreadable."""
        above = self.signer(root.id)
        if above is None:
            remedy = "restore it, or run `hauberk ca rotate --root` for a new root"
            raise NoIssuer(f"the key of the root {root.id} is not here, so it cannot sign an issuing key: {remedy}")
        identifier = f"issuing-{serial_text(serial)[:_SERIAL_DIGITS]}"
        signer = self._keys.create(identifier, KeyAlgorithm.ECDSA_P256)
        try:
            template = build_issuing(
                trust_domain=self.trust_domain,
                public_key=signer.public_key,
                root=certificate_of(root),
                serial=serial,
                now=now,
                lifetime=lifetime,
            )
            # The root signs, not the key that has just been made.
            certificate = above.sign_certificate(template)
        except Exception as exc:
            # It is tried again with the next request, and would leave a key each time.
            self._keys.destroy(identifier)
            if isinstance(exc, InvalidTemplate):
                raise NoIssuer(f"the root {root.id} cannot sign an issuing key now: {exc}") from exc
            raise
        return AuthorityRow(id=identifier, kind=Kind.ISSUING, slot=Slot.PREPARED, public=to_pem(certificate), parent=root.id, created=now)

    def destroy(self, row: AuthorityRow) -> None:
        """Its key is gone for ever, and the copy of its certificate with it."""
        self._copy(row.id).unlink(missing_ok=True)
        self._keys.destroy(row.id)

    def keep_copy(self, row: AuthorityRow) -> None:
        """Its certificates lie beside its key, whole and on the disk, so that a lost database loses no authority."""
        if row.kind is Kind.JWT or row.slot is Slot.RETIRED:
            return
        path, content = self._copy(row.id), row.public.encode()
        if not path.exists() or path.read_bytes() != content:
            write_private(path, content)

    def _copy(self, identifier: str) -> Path:
        return self._directory / f"{identifier}{_COPY}"


def certificates_of(row: AuthorityRow) -> tuple[x509.Certificate, ...]:
    """Its own certificate, and those between it and its root if there are any."""
    return _parsed(row.public)


@lru_cache(maxsize=256)
def _parsed(pem: str) -> tuple[x509.Certificate, ...]:
    # Asked for with every certificate that is issued.
    return tuple(x509.load_pem_x509_certificates(pem.encode()))


def certificate_of(row: AuthorityRow) -> x509.Certificate:
    """Its own certificate."""
    return certificates_of(row)[0]
