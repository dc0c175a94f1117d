"""Bundles as the Workload API hands them out, each named by the SPIFFE ID of its trust domain; pure.

Those of different domains stay apart (SPIFFE Federation, 5.3: never merged), and an X.509 bundle says nothing of tokens.
"""

import json
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.trust import JwtKey, Trust

JWT_USE = "jwt-svid"


def own_x509(trust: Trust) -> bytes:
    """The authorities of our own domain, one after the other in DER."""
    return _der(trust.x509_authorities)


def federated_x509(trust: Trust) -> dict[str, bytes]:
    """The same of each other domain that is believed."""
    return {name_of(each.trust_domain): _der(each.x509_authorities) for each in trust.others}


def all_x509(trust: Trust) -> dict[str, bytes]:
    """Of all of them."""
    return {**federated_x509(trust), name_of(trust.trust_domain): own_x509(trust)}


def all_jwt(trust: Trust) -> dict[str, bytes]:
    """A JWK Set of each domain; one without keys is there too, and says that nothing of that domain is to be believed."""
    sets = {name_of(each.trust_domain): _keys(each.jwt_keys) for each in trust.others}
    return {**sets, name_of(trust.trust_domain): _keys(trust.jwt_keys)}


def jwt_keys_of(trust: Trust, trust_domain: str) -> Sequence[JwtKey] | None:
    """Who may sign tokens of that domain; None: nobody is believed about it."""
    if trust_domain == trust.trust_domain:
        return trust.jwt_keys
    return next((each.jwt_keys for each in trust.others if each.trust_domain == trust_domain), None)


def name_of(trust_domain: str) -> str:
    """The SPIFFE ID of the domain itself."""
    return str(SpiffeId(trust_domain))


def _der(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.DER) for each in certificates)


def _keys(keys: Iterable[JwtKey]) -> bytes:
    entries = [{**json.loads(key.jwk), "use": JWT_USE, "kid": key.key_id} for key in keys]
    return json.dumps({"keys": entries}, sort_keys=True, separators=(",", ":")).encode()
