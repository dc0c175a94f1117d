"""What certificates of the mesh look like. Nothing is signed here: a template becomes a certificate by an authority's key."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hauberk.identity.spiffe_id import SpiffeId

PublicKey = EllipticCurvePublicKey | RSAPublicKey

SERIAL_BITS = 128
BACKDATE = timedelta(minutes=1)  # machines' clocks differ; a certificate must be valid where it arrives
_ORGANIZATION = "Hauberk"


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


# What every leaf has; made once, because leaves are made by the thousand.
_LEAF_SUBJECT = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION)])
_NO_AUTHORITY = x509.BasicConstraints(ca=False, path_length=None)
_LEAF_USAGE = _key_usage(signs_certificates=False)
_LEAF_PURPOSES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


class InvalidTemplate(ValueError):
    """The asked-for certificate could not be a valid one."""


def build_root(*, trust_domain: str, public_key: PublicKey, serial: int, now: datetime, lifetime: timedelta) -> x509.CertificateBuilder:
    """The self-signed certificate at the top of a trust domain; one issuing certificate may stand below it."""
    name = _authority_name("root", serial)
    builder = _builder(subject=name, issuer=name, public_key=public_key, serial=serial)
    builder = builder.not_valid_before(now - backdate(lifetime)).not_valid_after(now + lifetime)
    return _as_authority(builder, trust_domain, public_key, path_length=1)


def build_issuing(
    *, trust_domain: str, public_key: PublicKey, root: x509.Certificate, serial: int, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    """The certificate that signs leaves and nothing else."""
    builder = _builder(subject=_authority_name("issuing", serial), issuer=root.subject, public_key=public_key, serial=serial)
    builder = _valid_within(builder, root, now, lifetime)
    return _as_authority(builder, trust_domain, public_key, path_length=0).add_extension(_issued_by(root), critical=False)


def build_leaf(
    *,
    spiffe_id: SpiffeId,
    public_key: PublicKey,
    issuer: x509.Certificate,
    serial: int,
    now: datetime,
    lifetime: timedelta,
    dns_names: Sequence[str] = (),
) -> x509.CertificateBuilder:
    """The certificate of one workload, valid both as a server's and as a client's. DNS names are for clients that know no SPIFFE IDs."""
    if not spiffe_id.is_workload:
        raise InvalidTemplate("a leaf names a workload, not the trust domain")
    builder = _builder(subject=_LEAF_SUBJECT, issuer=issuer.subject, public_key=public_key, serial=serial)
    return (
        _valid_within(builder, issuer, now, lifetime)
        .add_extension(_NO_AUTHORITY, critical=True)
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(_LEAF_PURPOSES, critical=False)
        # Not critical, because the subject is not empty (RFC 5280, 4.2.1.6).
        .add_extension(_names(spiffe_id, dns_names), critical=not _LEAF_SUBJECT.rdns)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_issued_by(issuer), critical=False)
    )


def backdate(lifetime: timedelta) -> timedelta:
    """How long before now a certificate of `lifetime` begins to be valid.

    A tenth of a short life at most, else the half life of a certificate of seconds would lie in the past when it is issued.
    """
    return min(BACKDATE, lifetime / 10)


def _builder(*, subject: x509.Name, issuer: x509.Name, public_key: PublicKey, serial: int) -> x509.CertificateBuilder:
    if not 0 < serial < 1 << SERIAL_BITS:
        raise InvalidTemplate(f"a serial number is positive and has at most {SERIAL_BITS} bits")
    return x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key).serial_number(serial)


def _valid_within(
    builder: x509.CertificateBuilder, issuer: x509.Certificate, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    """`builder` with a life that lies wholly in its issuer's: what outlives its issuer fails at a moment nobody planned."""
    begin, end = leaf_validity(issuer, now, lifetime)
    return builder.not_valid_before(begin).not_valid_after(end)


def leaf_validity(issuer: x509.Certificate, now: datetime, lifetime: timedelta) -> tuple[datetime, datetime]:
    """Begin and end of a life that lies wholly in its issuer's, in whole seconds; raises InvalidTemplate if there is none."""
    # Certificates know whole seconds only, and begin and end are cut off, not rounded.
    begin = max(now - backdate(lifetime), issuer.not_valid_before_utc).replace(microsecond=0)
    end = min(now + lifetime, issuer.not_valid_after_utc).replace(microsecond=0)
    if end <= max(now.replace(microsecond=0), begin):
        reason = "too short, or the issuer's certificate has expired or is far from being valid yet"
        raise InvalidTemplate(f"its life would be over before it begins: {reason}")
    return begin, end


def _as_authority(
    builder: x509.CertificateBuilder, trust_domain: str, public_key: PublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(_names(SpiffeId(trust_domain)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _authority_name(role: str, serial: int) -> x509.Name:
    # The serial keeps the names of successive authorities apart: validators look an issuer up by its name.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{role} {serial >> (SERIAL_BITS - 32):08x}"),
        ]
    )


def _names(spiffe_id: SpiffeId, dns_names: Sequence[str] = ()) -> x509.SubjectAlternativeName:
    """Exactly one URI (X509-SVID, 2), and any number of DNS names."""
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id)), *(x509.DNSName(name) for name in dns_names)])


def _issued_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    key_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier)
