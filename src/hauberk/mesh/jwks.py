"""Sets of keys that tokens are verified with (RFC 7517), reduced to what verifying needs.

What a proxy is told holds nothing else: no private member that somebody published by mistake, no key for encryption, no shared secret,
which whoever can read the set could sign with, and no key that the proxy would refuse together with all the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from hauberk.identity.jwk_key import InvalidJwk, decode_public_key, encode_public_key

LARGEST: Final = 1 << 20  # bytes of a set
MOST_KEYS: Final = 100
_LEAST_RSA_BITS: Final = 2048
_MOST_RSA_BITS: Final = 8192  # what a verification costs grows with it, and every request with a token pays
_LONGEST_NAME: Final = 1024


class InvalidJwks(ValueError):
    """There is no key to verify a token with; the message says why and quotes no key."""


@dataclass(frozen=True, slots=True)
class UsableKeys:
    """`text` is the set as a proxy reads it; `left_out` says why some keys of it are not in there, each reason once."""

    text: str
    left_out: tuple[str, ...] = ()


def usable_keys(text: str | bytes) -> UsableKeys:
    """The keys in `text` that verify tokens, in their order and in one form; raises InvalidJwks if there is none."""
    keys = _parse(text)
    found: list[dict[str, str]] = []
    left_out: dict[str, None] = {}
    for key in keys:
        try:
            found.append(_usable(key))
        except InvalidJwk as exc:
            left_out[str(exc)] = None
    if not found:
        raise InvalidJwks(f"no key of the set can verify a token: {'; '.join(left_out)}" if left_out else "the set holds no key")
    return UsableKeys(json.dumps({"keys": found}, separators=(",", ":"), sort_keys=True), tuple(left_out))


def _parse(text: str | bytes) -> list[Any]:
    if len(text) > LARGEST:
        raise InvalidJwks(f"the set is larger than {LARGEST // 1024} kB")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidJwks("the set is no JSON") from exc
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise InvalidJwks("the set has no list of keys")
    if len(keys) > MOST_KEYS:
        raise InvalidJwks(f"the set has more than {MOST_KEYS} keys")
    return keys


def _usable(key: object) -> dict[str, str]:
    if not isinstance(key, dict):
        raise InvalidJwk("a key is no object")
    if key.get("use", "sig") != "sig" or "verify" not in _operations(key):
        raise InvalidJwk("a key is not for signatures")
    if key.get("kty") == "oct":
        raise InvalidJwk("a key is a shared secret")
    public = decode_public_key(key)
    if isinstance(public, rsa.RSAPublicKey) and not _LEAST_RSA_BITS <= public.key_size <= _MOST_RSA_BITS:
        raise InvalidJwk(f"an RSA key has less than {_LEAST_RSA_BITS} or more than {_MOST_RSA_BITS} bits")
    named = {name: text for name in ("kid", "alg") if isinstance(text := key.get(name), str) and text and len(text) <= _LONGEST_NAME}
    return named | encode_public_key(public)


def _operations(key: Mapping[str, Any]) -> Any:
    operations = key.get("key_ops")
    return operations if isinstance(operations, list) else ("verify",)
