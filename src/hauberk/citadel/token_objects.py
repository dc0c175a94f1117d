"""Key pairs as objects of a PKCS#11 token: made there, brought there, found, read."""

from __future__ import annotations

import os
from typing import Any

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, ObjectClass

from hauberk.citadel.key_signer import curve_of
from hauberk.citadel.key_store import KeyAlgorithm, KeyUnreadable, PrivateKey, PublicKey

# The object identifiers of the curves as DER: what CKA_EC_PARAMS holds.
_CURVES = {"secp256r1": bytes.fromhex("06082a8648ce3d030107"), "secp384r1": bytes.fromhex("06052b81040022")}


class NotThere(LookupError):
    """The token has no such object."""


def find(session: pkcs11.Session, label: str, kind: ObjectClass) -> Any:
    """The one object of that kind with that label; raises NotThere, and KeyUnreadable if there are two."""
    found = list(session.get_objects({Attribute.LABEL: label, Attribute.CLASS: kind}))
    if not found:
        raise NotThere(label)
    if len(found) > 1:
        raise KeyUnreadable(label, "the token has more than one key of this label", "remove the ones that somebody else has put there")
    return found[0]


def generate_pair(session: pkcs11.Session, label: str, algorithm: KeyAlgorithm) -> None:
    """There is a new key pair in the token; its private half never leaves it."""
    params = session.create_domain_parameters(pkcs11.KeyType.EC, {Attribute.EC_PARAMS: _CURVES[curve_of(algorithm).name]}, local=True)
    params.generate_keypair(
        label=label,
        id=_identifier(),
        store=True,
        capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        private_template=_locked(),
    )


def import_pair(session: pkcs11.Session, label: str, key: PrivateKey) -> None:
    """The key pair is in the token, which does not give its private half out again."""
    shared = {Attribute.TOKEN: True, Attribute.LABEL: label, Attribute.ID: _identifier(), Attribute.KEY_TYPE: _kind(key)}
    public, private = _halves(key)
    # The public half first: without the private one it is nothing, and `open` wants both.
    session.create_object({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.VERIFY: True, **shared, **public})
    session.create_object({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.SIGN: True, **_locked(), **shared, **private})


def _halves(key: PrivateKey) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """What a token is told of the public and of the private half of a key."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        curve = {Attribute.EC_PARAMS: _CURVES[key.curve.name]}
        value = key.private_numbers().private_value.to_bytes((key.curve.key_size + 7) // 8)
        # A point is a DER OCTET STRING: both curves' points are shorter than 128 bytes, so its length is one byte.
        return {**curve, Attribute.EC_POINT: bytes([4, len(point)]) + point}, {**curve, Attribute.VALUE: value}
    numbers = key.private_numbers()
    public = {Attribute.MODULUS: _big(numbers.public_numbers.n), Attribute.PUBLIC_EXPONENT: _big(numbers.public_numbers.e)}
    private = {
        Attribute.PRIVATE_EXPONENT: _big(numbers.d),
        Attribute.PRIME_1: _big(numbers.p),
        Attribute.PRIME_2: _big(numbers.q),
        Attribute.EXPONENT_1: _big(numbers.dmp1),
        Attribute.EXPONENT_2: _big(numbers.dmq1),
        Attribute.COEFFICIENT: _big(numbers.iqmp),
    }
    return public, {**public, **private}


def public_key_of(found: Any) -> PublicKey:
    """The public key that an object of the token describes."""
    if found.key_type == pkcs11.KeyType.RSA:
        numbers = (int.from_bytes(found[Attribute.PUBLIC_EXPONENT]), int.from_bytes(found[Attribute.MODULUS]))
        return rsa.RSAPublicNumbers(*numbers).public_key()
    curve: ec.EllipticCurve = ec.SECP256R1() if found[Attribute.EC_PARAMS] == _CURVES["secp256r1"] else ec.SECP384R1()
    point = bytes(found[Attribute.EC_POINT])
    # Some tokens leave out the OCTET STRING around the point.
    raw = point[2:] if point[:1] == b"\x04" and len(point) == (curve.key_size // 8) * 2 + 3 else point
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, raw)


def _locked() -> dict[Any, Any]:
    return {Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


def _kind(key: PrivateKey) -> Any:
    return pkcs11.KeyType.EC if isinstance(key, ec.EllipticCurvePrivateKey) else pkcs11.KeyType.RSA


def _identifier() -> bytes:
    # Joins the two halves in the eyes of other tools; we go by the label.
    return os.urandom(16)


def _big(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)
