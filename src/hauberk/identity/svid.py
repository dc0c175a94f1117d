"""X509-SVIDs: a chain of certificates whose leaf names one workload."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from hauberk.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from hauberk.identity.trust_bundle import UNREADABLE


class InvalidSvid(ValueError):
    """A certificate may not be used as an X509-SVID; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class X509Svid:
    """A checked certificate chain, leaf first, without its root and without its key."""

    spiffe_id: SpiffeId
    chain: tuple[x509.Certificate, ...]

    @classmethod
    def parse(cls, chain_pem: Sequence[str]) -> Self:
        """The SVID in `chain_pem`; every rule a validator must check on the leaf itself has been checked."""
        try:
            chain = tuple(x509.load_pem_x509_certificate(pem.encode()) for pem in chain_pem)
        except ValueError as exc:
            raise InvalidSvid("the chain holds something that is not a PEM certificate") from exc
        return cls._checked(chain)

    @classmethod
    def from_der(cls, chain_der: Sequence[bytes]) -> Self:
        """The same for a chain in DER."""
        try:
            chain = tuple(x509.load_der_x509_certificate(der) for der in chain_der)
        except ValueError as exc:
            raise InvalidSvid("the chain holds something that is not a DER certificate") from exc
        return cls._checked(chain)

    @classmethod
    def _checked(cls, chain: tuple[x509.Certificate, ...]) -> Self:
        if not chain:
            raise InvalidSvid("the chain is empty")
        return cls(spiffe_id=leaf_spiffe_id(chain[0]), chain=chain)

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that names the workload."""
        return self.chain[0]

    @property
    def serial(self) -> str:
        """The leaf's serial number in hexadecimal, as `hauberk status` shows it."""
        return f"{self.leaf.serial_number:032x}"

    @property
    def issuer(self) -> str:
        """The leaf's issuer as an RFC 4514 name."""
        return self.leaf.issuer.rfc4514_string()

    @property
    def not_before(self) -> datetime:
        """When the leaf begins to be valid."""
        return self.leaf.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """When the leaf ends to be valid."""
        return self.leaf.not_valid_after_utc


def leaf_spiffe_id(leaf: x509.Certificate) -> SpiffeId:
    """The identity `leaf` proves, if its extensions are those of an X509-SVID of a workload (not of an authority)."""
    try:
        extensions = leaf.extensions
    except UNREADABLE as exc:
        raise InvalidSvid("the certificate's extensions cannot be read") from exc
    spiffe_id = _single_uri(extensions)
    if not spiffe_id.is_workload:
        raise InvalidSvid("a leaf names a workload, not the trust domain")
    _check_not_authority(extensions)
    _check_key_usage(extensions)
    _check_extended_key_usage(extensions)
    return spiffe_id


def _single_uri(extensions: x509.Extensions) -> SpiffeId:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as exc:
        raise InvalidSvid("the certificate has no subject alternative name") from exc
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise InvalidSvid(f"an SVID has exactly one URI name, this one has {len(uris)}")
    try:
        return SpiffeId.parse(uris[0])
    except InvalidSpiffeId as exc:
        raise InvalidSvid(f"its URI name is not a SPIFFE ID: {exc}") from exc


def _check_not_authority(extensions: x509.Extensions) -> None:
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return  # absent means "not an authority" (RFC 5280, 4.2.1.9)
    if constraints.ca:
        raise InvalidSvid("a signing certificate may not be used to authenticate")


def _check_key_usage(extensions: x509.Extensions) -> None:
    try:
        extension = extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound as exc:
        raise InvalidSvid("an SVID has a key usage") from exc
    usage = extension.value
    if not extension.critical:
        raise InvalidSvid("an SVID's key usage is critical")
    if not usage.digital_signature:
        raise InvalidSvid("a leaf's key usage includes digitalSignature")
    if usage.key_cert_sign or usage.crl_sign:
        raise InvalidSvid("a leaf's key usage includes neither keyCertSign nor cRLSign")


def _check_extended_key_usage(extensions: x509.Extensions) -> None:
    try:
        purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= purposes:
        raise InvalidSvid("an extended key usage names both serverAuth and clientAuth")
