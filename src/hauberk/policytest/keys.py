"""A key of the test's own: for tokens with claims that a test takes as verified, so that real sidecars do too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from hauberk.identity.jwk_key import encode_bytes, encode_public_key

_KEY_ID: Final = "hauberk-test"
_LIFE: Final = 3600  # seconds


class TestKey:
    """A private key (P-256) that never leaves this process."""

    __test__ = False

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def added_to(self, jwks: str) -> str:
        """The key set with this key in it."""
        try:
            given = json.loads(jwks or "{}")
        except ValueError:
            given = {}
        keys = given.get("keys", []) if isinstance(given, dict) else []
        own = {**encode_public_key(self._key.public_key()), "kid": _KEY_ID, "alg": "ES256", "use": "sig"}
        return json.dumps({"keys": [*keys, own]})

    def token(self, claims: Mapping[str, Any], audience: str | None, now: datetime) -> str:
        """A token with these claims; what it needs to be accepted and they do not say is added."""
        seconds = int(now.timestamp())
        payload = {"iat": seconds, "exp": seconds + _LIFE, **({"aud": audience} if audience else {}), **claims}
        head = {"alg": "ES256", "kid": _KEY_ID, "typ": "JWT"}
        signed = ".".join(encode_bytes(json.dumps(each, separators=(",", ":")).encode()) for each in (head, payload))
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{encode_bytes(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
