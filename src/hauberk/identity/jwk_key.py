"""Public keys as JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037): only the members that are the key itself."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

# Members of a private or symmetric key: whoever publishes one has lost it.
SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
KEY_TYPES: Final = frozenset({"EC", "RSA", "OKP"})

_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_NAMES: Final = {curve.name: name for name, curve in _CURVES.items()}
_LONGEST: Final = 4096  # characters of one number: an RSA key of 16384 bits fits


class InvalidJwk(ValueError):
    """The members of a key are not those of a public key; the message says which rule they break."""


class UnknownJwk(InvalidJwk):
    """A key of a kind that is not known here, though others may know it."""


def encode_public_key(key: PublicKey) -> dict[str, str]:
    """`kty` and the numbers of `key`."""
    match key:
        case ec.EllipticCurvePublicKey():
            if key.curve.name not in _NAMES:
                raise UnknownJwk(f"curve {key.curve.name} has no name in a JWK")
            size = (key.curve.key_size + 7) // 8
            numbers = key.public_numbers()
            x, y = (encode_bytes(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
            return {"kty": "EC", "crv": _NAMES[key.curve.name], "x": x, "y": y}
        case rsa.RSAPublicKey():
            public = key.public_numbers()
            return {"kty": "RSA", "n": _encode_number(public.n), "e": _encode_number(public.e)}
        case ed25519.Ed25519PublicKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": encode_bytes(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
        case _:
            raise UnknownJwk("a key of this kind has no form as a JWK here")


def decode_public_key(jwk: Mapping[str, object]) -> PublicKey:
    """The key in `jwk`; raises UnknownJwk for a kind or curve that is not known here, InvalidJwk for what is no key of its kind."""
    try:
        match jwk.get("kty"), jwk.get("crv"):
            case "EC", str(curve) if curve in _CURVES:
                return _elliptic(_CURVES[curve], decode_bytes(jwk.get("x")), decode_bytes(jwk.get("y")))
            case "OKP", "Ed25519":
                return ed25519.Ed25519PublicKey.from_public_bytes(decode_bytes(jwk.get("x")))
            case "RSA", _:
                n, e = (int.from_bytes(decode_bytes(jwk.get(name)), "big") for name in ("n", "e"))
                return rsa.RSAPublicNumbers(e, n).public_key()
            case kind, _:
                raise UnknownJwk(f"its key type {_shown(kind)} or curve {_shown(jwk.get('crv'))} is not known here")
    except InvalidJwk:
        raise
    except ValueError as exc:
        raise InvalidJwk("its numbers are no public key of that type") from exc


def encode_bytes(data: bytes) -> str:
    """base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_bytes(text: object) -> bytes:
    """The bytes in a member, which must be there and be base64url without padding."""
    if not isinstance(text, str) or not text or len(text) > _LONGEST:
        raise InvalidJwk("a number of the key is missing or too long")
    try:
        # The standard alphabet's two characters and any other are refused: one key has one text.
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as exc:
        raise InvalidJwk("a number of the key is not base64url") from exc
    if encode_bytes(data) != text:
        raise InvalidJwk("a number of the key is not base64url without padding")
    return data


def _elliptic(curve: ec.EllipticCurve, x: bytes, y: bytes) -> ec.EllipticCurvePublicKey:
    size = (curve.key_size + 7) // 8
    if len(x) != size or len(y) != size:
        raise InvalidJwk(f"coordinates of a point on {_NAMES[curve.name]} have {size} bytes each")
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + x + y)


def _encode_number(number: int) -> str:
    return encode_bytes(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _shown(value: object) -> str:
    return repr(value)[:40]
