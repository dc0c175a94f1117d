"""Trust bundles: whose signatures prove an identity of one trust domain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.identity.spiffe_id import InvalidSpiffeId, SpiffeId

# What `extensions` of a certificate raises that was not made by the rules; only the first is a ValueError.
UNREADABLE: Final = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_LEAST_RSA, _MOST_RSA = 2048, 8192  # bits; a larger key would cost every handshake


class InvalidTrustBundle(ValueError):
    """A trust bundle holds something that is not a signing certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBundle:
    """The signing certificates of one trust domain. Bundles of different domains are never merged.

    An empty one is legal and means that every identity of the domain is invalid.
    """

    trust_domain: str
    authorities: tuple[x509.Certificate, ...]

    @classmethod
    def parse(cls, trust_domain: str, pems: Sequence[str]) -> Self:
        """The bundle in `pems`, of which each holds one certificate."""
        try:
            authorities = tuple(x509.load_pem_x509_certificate(pem.encode()) for pem in pems)
        except ValueError as exc:
            raise InvalidTrustBundle("the trust bundle holds something that is not a PEM certificate") from exc
        for authority in authorities:
            check_authority(authority)
        return cls(trust_domain=trust_domain, authorities=authorities)

    @property
    def pems(self) -> tuple[str, ...]:
        """Each signing certificate as PEM text."""
        return tuple(to_pem(certificate) for certificate in self.authorities)


def to_pem(certificate: x509.Certificate) -> str:
    """`certificate` as PEM text with a line end."""
    return certificate.public_bytes(Encoding.PEM).decode()


def check_authority(certificate: x509.Certificate) -> None:
    """`certificate` is one of a signing authority (X509-SVID, 4): it may sign, and an ID in it has no path. Raises InvalidTrustBundle."""
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except (*UNREADABLE, x509.ExtensionNotFound) as exc:
        raise InvalidTrustBundle("a trust bundle's certificate lacks basic constraints or key usage") from exc
    if not (constraints.ca and usage.key_cert_sign):
        raise InvalidTrustBundle("a trust bundle's certificate may not sign certificates")
    _check_key(certificate)
    for uri in _uris(extensions):
        try:
            is_workload = SpiffeId.parse(uri).is_workload
        except InvalidSpiffeId:
            continue  # some other URI of the authority's: it names nobody in a mesh
        if is_workload:
            raise InvalidTrustBundle("a trust bundle's certificate names a workload, which no signing certificate does")


def _check_key(certificate: x509.Certificate) -> None:
    """Its key is of a kind that proxies know: what one of them cannot load, it refuses with all that came along."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise InvalidTrustBundle("a trust bundle's certificate has a key that cannot be read") from exc
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return
        case ed25519.Ed25519PublicKey():
            return
        case rsa.RSAPublicKey() if _LEAST_RSA <= key.key_size <= _MOST_RSA:
            return
        case _:
            raise InvalidTrustBundle("a trust bundle's certificate has a key of a kind or size that is not used here")


def _uris(extensions: x509.Extensions) -> Iterator[str]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return
    yield from names.get_values_for_type(x509.UniformResourceIdentifier)
