"""A company's own certificate authority, as strange as a test wants it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
ALL_USAGES = ("key_cert_sign", "crl_sign")
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True, kw_only=True)
class CompanyCa:
    """One authority of the company with its key."""

    certificate: x509.Certificate
    key: Key = field(repr=False)
    above: tuple[CompanyCa, ...] = ()  # the nearest first, the root last

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        """All but the root."""
        return b"".join(each.pem for each in (self, *self.above[:-1]))

    @property
    def root_pem(self) -> bytes:
        return (self, *self.above)[-1].pem

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def company_ca(
    name: str,
    issuer: CompanyCa | None = None,
    *,
    key: Key | None = None,
    now: datetime = NOW,
    begins: timedelta = -timedelta(hours=1),
    lives: timedelta | None = None,
    ca: bool | None = True,
    path_length: int | None = None,
    usages: tuple[str, ...] | None = ALL_USAGES,
    key_identifier: bool = True,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> CompanyCa:
    """An authority below `issuer`, or a root."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Ltd"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(_end(issuer, now, lives))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True)
    if usages is not None:
        builder = builder.add_extension(x509.KeyUsage(**{usage: usage in usages for usage in _USAGES}), critical=True)
    if key_identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return CompanyCa(certificate=certificate, key=key, above=(issuer, *issuer.above) if issuer else ())


def _end(issuer: CompanyCa | None, now: datetime, lives: timedelta | None) -> datetime:
    if lives is not None:
        return now + lives
    return issuer.certificate.not_valid_after_utc if issuer else now + timedelta(days=3650)
