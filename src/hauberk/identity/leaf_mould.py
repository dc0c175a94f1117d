"""Certificates of one identity by one issuer differ in five places; a mould is everything else, taken from one that `template` has built.

The library's builder costs several times what the signature costs, and an authority makes leaves by the thousand. Nothing is encoded
here: bytes of known length are put where such bytes were, so a casting is byte for byte what the builder would have made.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hauberk.identity.template import SERIAL_BITS

_UTC_TIME = b"\x17\x0d"  # tag and length; from 2050 on a time has another form (RFC 5280, 4.1.2.5)
_UTC_TIME_ENDS = 2050
_OCTETS = b"\x04\x14"  # of a subject key identifier


class NoMould(ValueError):
    """This certificate's places cannot be told from what is around them."""


@dataclass(frozen=True, slots=True)
class LeafMould:
    """`parts` stand before, between and after serial, begin, end, public key and its identifier; `algorithm` is the signature's."""

    parts: tuple[bytes, ...]
    algorithm: bytes
    is_ecdsa: bool

    @classmethod
    def of(cls, leaf: x509.Certificate) -> Self:
        """The mould that `leaf` came out of; raises NoMould."""
        key, tbs, whole = leaf.public_key(), leaf.tbs_certificate_bytes, leaf.public_bytes(Encoding.DER)
        if not isinstance(key, EllipticCurvePublicKey):
            raise NoMould("keys of other kinds differ in length")
        places = _places(leaf.serial_number, leaf.not_valid_before_utc, leaf.not_valid_after_utc, key)
        parts, at = [], 0
        for place in places:
            found = tbs.find(place, at)
            if found < 0:
                raise NoMould("the certificate is not encoded as expected")
            parts.append(tbs[at:found])
            at = found + len(place)
        after = whole[whole.index(tbs) + len(tbs) :]
        algorithm = after[: 2 + after[1]]
        mould = cls((*parts, tbs[at:]), algorithm, leaf.signature_algorithm_oid.dotted_string.startswith("1.2.840.10045."))
        if mould._joined(places) != tbs:
            raise NoMould("the certificate is not encoded as expected")
        return mould

    def cast(self, serial: int, begin: datetime, end: datetime, key: EllipticCurvePublicKey) -> bytes:
        """What is to be signed (TBSCertificate); the key is of the same curve as the mould's. Raises NoMould for times far ahead."""
        return self._joined(_places(serial, begin, end, key))

    def seal(self, tbs: bytes, signature: bytes) -> bytes:
        """The certificate (DER), given the signature in the form of JWS (RFC 7518, 3.4)."""
        if self.is_ecdsa:
            half = len(signature) // 2
            signature = encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
        content = tbs + self.algorithm + b"\x03" + _length(len(signature) + 1) + b"\x00" + signature
        return b"\x30" + _length(len(content)) + content

    def _joined(self, places: tuple[bytes, ...]) -> bytes:
        return b"".join(piece for pair in zip(self.parts, (*places, b""), strict=True) for piece in pair)


def _places(serial: int, begin: datetime, end: datetime, key: EllipticCurvePublicKey) -> tuple[bytes, ...]:
    if serial.bit_length() != SERIAL_BITS or end.year >= _UTC_TIME_ENDS or begin.year >= _UTC_TIME_ENDS:
        raise NoMould("it would be of another length")
    public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # The point, uncompressed, is all that follows the algorithm (RFC 5280, 4.2.1.2, method 1).
    point = public[-(1 + 2 * ((key.key_size + 7) // 8)) :]
    identifier = sha1(point, usedforsecurity=False).digest()
    return serial.to_bytes(SERIAL_BITS // 8), _time(begin), _time(end), public, _OCTETS + identifier


def _time(moment: datetime) -> bytes:
    return _UTC_TIME + moment.strftime("%y%m%d%H%M%SZ").encode()


def _length(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    digits = number.to_bytes((number.bit_length() + 7) // 8)
    return bytes((0x80 | len(digits), *digits))
