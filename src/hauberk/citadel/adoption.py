"""Keys that the database knows nothing of: those of the first release, and all of them if it was lost or is an old copy."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from hauberk.citadel import slots
from hauberk.citadel.authorities import certificate_of
from hauberk.citadel.key_store import KeyStore, KeyUnreadable
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.log import logger

FIRST_ROOT, FIRST_ISSUING = "root", "issuing"  # names of the first release, which had one pair
_ANEW = "remove the directory to begin with a new authority (every identity changes)"

_log = logger("citadel")


def adopt(rows: slots.Rows, keys: KeyStore, directory: Path, now: datetime) -> tuple[AuthorityRow, ...]:
    """The rows to add or change so that every key whose certificate lies beside it is known.

    Roots that the database does not have are trusted, because something below them may live; one of them signs if no other can.
    """
    known = {row.id for row in rows}
    kept = keys.ids()
    found = tuple(_found(kept - known, directory, now))
    roots = [row for row in found if row.kind is Kind.ROOT]
    issuing = [placed for row in found if row.kind is Kind.ISSUING if (placed := _placed(row, (*rows, *roots))) is not None]
    everything = slots.merged(rows, (*roots, *issuing))
    current = slots.active(rows, Kind.ROOT)
    # A root that was imported, or is kept offline, signs through the issuing key below it.
    if current is None or not ({current.id, *(row.id for row in slots.below(rows, current.id))} & kept):
        able = max(roots, key=lambda row: (certificate_of(row).not_valid_before_utc, row.id), default=None)
        if able is not None:
            changed = slots.exchange(everything, new=able.id, old=current.id if current else "", now=now)
            everything = slots.merged(everything, changed)
    before = {row.id: row for row in rows}
    for row in found:
        _log.info("authority adopted", id=row.id, kind=row.kind.value)
    return tuple(row for row in everything if before.get(row.id) != row)


def check_root(row: AuthorityRow, directory: Path, names: Collection[str], now: datetime) -> None:
    """The root can be one of this mesh, whose trust domain has or had these names; raises KeyUnreadable."""
    certificate, path = certificate_of(row), directory / f"{row.id}.pem"
    if certificate.not_valid_after_utc <= now:
        raise KeyUnreadable(path, "the root has expired", _ANEW)
    made_for = uris(certificate)
    # A company's own root names no trust domain; one of ours does.
    if made_for and (len(made_for) > 1 or made_for[0] not in {str(SpiffeId(name)) for name in names}):
        raise KeyUnreadable(path, f"it was made for {', '.join(made_for)}, not for trust domain {' or '.join(names)}", _ANEW)
    if certificate.not_valid_before_utc > now:
        not_before = certificate.not_valid_before_utc
        _log.warning("the root is not valid yet: set the machine's clock", now=now, not_before=not_before)


def refuse_orphan(rows: slots.Rows, keys: KeyStore, directory: Path) -> None:
    """An issuing key of the first release without its root is no crash of ours but a lost file; raises KeyUnreadable."""
    ids = keys.ids()
    if not rows and FIRST_ISSUING in ids and FIRST_ROOT not in ids:
        remedy = f"restore it from a backup, or {_ANEW}"
        raise KeyUnreadable(directory / f"{FIRST_ROOT}.pem", "it is missing, yet an issuing key is there", remedy)


def uris(certificate: x509.Certificate) -> list[str]:
    """The URIs that `certificate` names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _found(ids: frozenset[str], directory: Path, now: datetime) -> Iterator[AuthorityRow]:
    for identifier in sorted(ids):
        certificates = _certificates(directory, identifier)
        if not certificates:
            continue
        own = certificates[0]
        kind = Kind.ROOT if _is_below(own, own) else Kind.ISSUING
        public = "".join(to_pem(each) for each in certificates)
        created = min(own.not_valid_before_utc, now)
        yield AuthorityRow(id=identifier, kind=kind, slot=Slot.OLD, public=public, created=created, activated=created)


def _certificates(directory: Path, identifier: str) -> list[x509.Certificate]:
    """From the copy that is kept beside a key, or, of the first release, from the key's own file."""
    for suffix in (".crt", ".pem"):
        path = directory / f"{identifier}{suffix}"
        try:
            return x509.load_pem_x509_certificates(path.read_bytes())
        except (ValueError, FileNotFoundError):
            continue
    return []


def _placed(row: AuthorityRow, rows: slots.Rows) -> AuthorityRow | None:
    """`row` below the root that signed it; None if that is unknown: nobody would believe it."""
    certificates = x509.load_pem_x509_certificates(row.public.encode())
    for root in rows:
        if root.kind is Kind.ROOT and _is_below(certificates[-1], certificate_of(root)):
            return replace(row, parent=root.id)
    _log.warning("an issuing key belongs to no root that is here, and is left alone", id=row.id)
    return None


def _is_below(certificate: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
