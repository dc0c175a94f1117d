"""A trust domain's authorities as people hand them over: the SPIFFE bundle format, or certificates as PEM."""

import re
from typing import Final

from cryptography import x509

from hauberk.identity.bundle_document import MAX_BYTES, MAX_KEYS, InvalidBundle, ParsedBundle, parse_bundle
from hauberk.identity.trust import ForeignBundle
from hauberk.identity.trust_bundle import InvalidTrustBundle, check_authority

_BEGIN: Final = b"-----BEGIN "
_BLOCK: Final = re.compile(rb"-----BEGIN ([^-]{1,40})-----.*?-----END \1-----", re.DOTALL)


def parse_bundle_file(data: bytes, trust_domain: str) -> ParsedBundle:
    """The bundle of `trust_domain` in `data`, whichever of the two it is; raises InvalidBundle, which names the entry that is broken."""
    return _parse_pem(data, trust_domain) if _BEGIN in data[:4096] and data.lstrip()[:1] != b"{" else parse_bundle(data, trust_domain)


def _parse_pem(data: bytes, trust_domain: str) -> ParsedBundle:
    if len(data) > MAX_BYTES:
        raise InvalidBundle(f"it is larger than {MAX_BYTES // 1024} kB")
    blocks = list(_BLOCK.finditer(data))
    if len(blocks) != data.count(_BEGIN):
        raise InvalidBundle("a PEM block in it does not end as it begins")
    if len(blocks) > MAX_KEYS:
        raise InvalidBundle(f"it has {len(blocks)} certificates, more than {MAX_KEYS}")
    certificates = dict.fromkeys(_certificate(number, block) for number, block in enumerate(blocks, start=1))
    return ParsedBundle(ForeignBundle(trust_domain=trust_domain, x509_authorities=tuple(certificates)), has_sequence=False)


def _certificate(number: int, block: re.Match[bytes]) -> x509.Certificate:
    label = block[1].decode("ascii", "replace")
    if "PRIVATE" in label:
        raise InvalidBundle(f"block {number} is a private key: it is lost if this file was handed over, and must be replaced by its owner")
    if label != "CERTIFICATE":
        raise InvalidBundle(f"block {number} is no certificate but {label!r}")
    try:
        certificate = x509.load_pem_x509_certificate(block[0])
        check_authority(certificate)
    except InvalidTrustBundle as exc:
        raise InvalidBundle(f"certificate {number}: {exc}") from exc
    except ValueError as exc:
        raise InvalidBundle(f"certificate {number} cannot be read") from exc
    return certificate
