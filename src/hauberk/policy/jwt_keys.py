"""Keys of issuers (JWKS) and signatures of tokens (RFC 7515, 7518, 8037), with the algorithms that the sidecar knows.

Only public keys verify: a token that is signed with the text of a public key as if that were a secret (HS256) meets no key.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

ALGORITHMS: Final = frozenset(
    {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
        *("HS256", "HS384", "HS512"),  # known to the sidecar, and without any key here that could verify them
    }
)
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: Final[dict[str, tuple[str, int, ec.EllipticCurve]]] = {
    "P-256": ("ES256", 32, ec.SECP256R1()),
    "P-384": ("ES384", 48, ec.SECP384R1()),
    "P-521": ("ES512", 66, ec.SECP521R1()),
}
Verify = Callable[[bytes, bytes], None]  # signature, and what is signed; InvalidSignature


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `algorithm` is the only one it is for, empty if it is for each of its type."""

    kid: str
    algorithm: str
    verifiers: dict[str, Verify]

    def verifies(self, algorithm: str, signature: bytes, signed: bytes) -> bool:
        verify = self.verifiers.get(algorithm)
        if verify is None:
            return False
        try:
            verify(signature, signed)
        except InvalidSignature:
            return False
        return True


def unbase64(text: str) -> bytes | None:
    """The bytes of base64url; None if it is none."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None


@lru_cache(maxsize=256)
def parse_keys(jwks: str) -> tuple[Key, ...]:
    """The keys of a set that can verify; none of what is no set."""
    try:
        found = json.loads(jwks)
    except (ValueError, RecursionError):
        return ()
    keys = found.get("keys") if isinstance(found, dict) else None
    made = (_key(each) for each in keys if isinstance(each, dict)) if isinstance(keys, list) else ()
    return tuple(each for each in made if each is not None)


def _key(key: dict[str, Any]) -> Key | None:
    kid, algorithm = (value if isinstance(value := key.get(name), str) else "" for name in ("kid", "alg"))
    try:
        match key.get("kty"):
            case "RSA":
                return Key(kid, algorithm, _rsa(rsa.RSAPublicNumbers(_number(key, "e"), _number(key, "n")).public_key()))
            case "EC":
                implied, verify = _elliptic(key)
                return Key(kid, implied, {implied: verify})
            case "OKP" if key.get("crv") == "Ed25519":
                public = ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key, "x"))
                return Key(kid, algorithm or "EdDSA", {"EdDSA": public.verify})
            case _:
                return None
    except (KeyError, ValueError):
        return None


def _rsa(key: rsa.RSAPublicKey) -> dict[str, Verify]:
    def simple(algorithm: hashes.HashAlgorithm) -> Verify:
        return lambda signature, signed: key.verify(signature, signed, padding.PKCS1v15(), algorithm)

    def probabilistic(algorithm: hashes.HashAlgorithm) -> Verify:
        pad = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
        return lambda signature, signed: key.verify(signature, signed, pad, algorithm)

    plain = {f"RS{size}": simple(algorithm) for size, algorithm in _HASHES.items()}
    return plain | {f"PS{size}": probabilistic(algorithm) for size, algorithm in _HASHES.items()}


def _elliptic(key: dict[str, Any]) -> tuple[str, Verify]:
    name, size, curve = _CURVES[key.get("crv", "P-256")]
    public = ec.EllipticCurvePublicNumbers(_number(key, "x"), _number(key, "y"), curve).public_key()
    algorithm = ec.ECDSA(_HASHES[name[2:]])

    def verify(signature: bytes, signed: bytes) -> None:
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
        public.verify(encode_dss_signature(r, s), signed, algorithm)

    return name, verify


def _bytes(key: dict[str, Any], name: str) -> bytes:
    value = key[name]
    found = unbase64(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(name)
    return found


def _number(key: dict[str, Any], name: str) -> int:
    return int.from_bytes(_bytes(key, name), "big")
