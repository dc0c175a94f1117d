"""What a validator that knows OpenID Connect and not SPIFFE needs: the discovery document, and the keys as it expects them.

(OpenID Connect Discovery 1.0, section 3; RFC 7517. The same keys are in the SPIFFE bundle, with SPIFFE's `use`.)
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from hauberk.identity.trust import JwtKey

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
KEYS_PATH: Final = "/keys"


def build_discovery(issuer: str, keys_url: str, algorithms: Sequence[str]) -> dict[str, Any]:
    """The document at `issuer`/.well-known/openid-configuration; nobody logs in here, so of the members only the required ones."""
    return {
        "issuer": issuer,
        "jwks_uri": keys_url,
        "authorization_endpoint": "",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted(set(algorithms)) or ["ES256"],
    }


def build_keys(keys: Sequence[JwtKey]) -> dict[str, Any]:
    """The JWK Set: `use` says `sig`, since many validators leave out what says anything else."""
    return {"keys": [json.loads(key.jwk) | {"use": "sig", "kid": key.key_id} for key in keys]}


def build_documents(issuer: str, keys: Sequence[JwtKey]) -> dict[bytes, bytes]:
    """Both, by their paths below the host of `issuer`, which may have a path itself."""
    base = "/" + issuer.partition("://")[2].partition("/")[2] if issuer.count("/") > 2 else ""
    discovery = build_discovery(issuer, issuer + KEYS_PATH, algorithms_of(keys))
    documents = {base + DISCOVERY_PATH: discovery, base + KEYS_PATH: build_keys(keys)}
    return {path.encode(): json.dumps(document, sort_keys=True).encode() for path, document in documents.items()}


def algorithms_of(keys: Sequence[JwtKey]) -> tuple[str, ...]:
    """The algorithms that `keys` sign by."""
    return tuple(str(jwk["alg"]) for key in keys if "alg" in (jwk := json.loads(key.jwk)))
