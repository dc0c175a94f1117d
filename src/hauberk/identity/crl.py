"""What revocation lists (RFC 5280, 5) look like. Nothing is signed here: a list becomes valid by its issuer's key."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

_SERIAL_BASE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedCertificate:
    """One certificate on a list: its serial (32 hexadecimal digits), and since when nobody is to believe it."""

    serial: str
    since: datetime


def build_crl(issuer: x509.Certificate, revoked: Iterable[RevokedCertificate], number: int) -> x509.CertificateRevocationListBuilder:
    """The list of `issuer`, which may be empty; `number` is greater than that of every list before.

    It is valid exactly as long as its issuer is. A list that had to be renewed more often would stop all traffic of a machine that is cut
    off from the control plane, or whose clock leaps, although nobody new was revoked.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(issuer.not_valid_before_utc)
        .next_update(issuer.not_valid_after_utc)
        .add_extension(_signed_by(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for each in sorted(revoked, key=lambda one: one.serial):
        builder = builder.add_revoked_certificate(_entry(each))
    return builder


def can_sign_crls(issuer: x509.Certificate) -> bool:
    """Whether validators accept a list that `issuer` has signed (RFC 5280, 4.2.1.3: key usage cRLSign)."""
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _signed_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        own = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _entry(revoked: RevokedCertificate) -> x509.RevokedCertificate:
    # Without a reason code: why is the ledger's business, not every peer's.
    builder = x509.RevokedCertificateBuilder().serial_number(int(revoked.serial, _SERIAL_BASE)).revocation_date(revoked.since)
    return builder.build()
