"""Key sets of issuers as users write them (RFC 7517): what is no key, too weak, or a secret, without ever repeating a value of it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

LARGEST_JWKS = 64 * 1024  # characters
MOST_KEYS = 100
SMALLEST_RSA = 2048  # bits
LARGEST_RSA = 8192  # what verifying costs grows with it, for every token
SECRET: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
# Bytes of a coordinate, and the numbers of y² = x³ - 3x + b over the field of p.
CURVES: Final[Mapping[str, tuple[int, int, int]]] = {
    "P-256": (
        32,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "P-384": (
        48,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "P-521": (
        66,
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}

Fault = tuple[str, str]  # code and sentence


def jwks_faults(text: str) -> Iterator[Fault]:
    """What is wrong with the key set `text`; nothing if at least one key can verify tokens and none is dangerous."""
    if len(text) > LARGEST_JWKS:
        yield "HBK0320", f"the key set has {len(text):,} characters; at most {LARGEST_JWKS:,} are allowed"
        return
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        yield "HBK0320", "the key set is not JSON"
        return
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        yield "HBK0320", 'the key set has no list of keys: {"keys": [ … ]}'
    elif len(keys) > MOST_KEYS:
        yield "HBK0320", f"the key set has {len(keys)} keys; at most {MOST_KEYS} are allowed"
    else:
        yield from _of_keys(keys)


def _of_keys(keys: list[dict[str, Any]]) -> Iterator[Fault]:
    faults = [list(key_faults(key)) for key in keys]
    for number, each in enumerate(faults):
        yield from ((code, f"key {number}{_named(keys[number])} {message}") for code, message in each)
    if all(any(code == "HBK0324" for code, _ in each) for each in faults):
        yield "HBK0320", "no key of the set can verify a token"


def _named(key: Mapping[str, Any]) -> str:
    kid = key.get("kid")
    return f" ({kid!r:.60})" if isinstance(kid, str) else ""


def key_faults(key: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with one key."""
    secrets = [name for name in SECRET if name in key]
    if secrets:
        yield "HBK0321", f"holds {', '.join(secrets)}, which only its owner may know"
        return
    if key.get("use", "sig") != "sig":
        yield "HBK0324", "is not for signatures"
        return
    match key.get("kty"), key.get("crv"):
        case "RSA", _:
            yield from _rsa(key)
        case "EC", str(curve) if curve in CURVES:
            yield from _elliptic(key, *CURVES[curve])
        case "OKP", "Ed25519":
            if len(_bytes(key.get("x"))) != 32:
                yield "HBK0320", "has no x of 32 bytes"
        case _:
            yield "HBK0324", "is of a type or curve that is not known here"


def _rsa(key: Mapping[str, Any]) -> Iterator[Fault]:
    modulus, exponent = (int.from_bytes(_bytes(key.get(name)), "big") for name in ("n", "e"))
    if not modulus or not exponent:
        yield "HBK0320", "has no n and e in base64url"
    elif modulus.bit_length() < SMALLEST_RSA:
        yield "HBK0322", f"has {modulus.bit_length()} bits; at least {SMALLEST_RSA} are needed"
    elif modulus.bit_length() > LARGEST_RSA:
        yield "HBK0320", f"has {modulus.bit_length()} bits; at most {LARGEST_RSA} are allowed"
    elif exponent < 3 or exponent % 2 == 0 or modulus % 2 == 0:
        yield "HBK0322", "is no RSA key: its exponent must be odd and at least 3, its modulus odd"


def _elliptic(key: Mapping[str, Any], size: int, p: int, b: int) -> Iterator[Fault]:
    x, y = _bytes(key.get("x")), _bytes(key.get("y"))
    if len(x) != size or len(y) != size:
        yield "HBK0320", f"has no x and y of {size} bytes each"
        return
    left, right = int.from_bytes(x, "big"), int.from_bytes(y, "big")
    if left >= p or right >= p or (right * right - (left * left * left - 3 * left + b)) % p:
        yield "HBK0320", "is no point of its curve"


def _bytes(text: object) -> bytes:
    """The bytes of a member; none if it is not base64url."""
    if not isinstance(text, str) or not text.isascii():
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""
