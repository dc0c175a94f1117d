"""What of a set of keys reaches a proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hauberk.identity.jwk_key import encode_public_key
from hauberk.mesh.jwks import InvalidJwks, usable_keys

EC = encode_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
RSA = encode_public_key(rsa.generate_private_key(65537, 2048).public_key())
ED = encode_public_key(ed25519.Ed25519PrivateKey.generate().public_key())
WEAK = encode_public_key(rsa.generate_private_key(65537, 1024).public_key())


def jwks(*keys: Any) -> str:
    return json.dumps({"keys": list(keys)})


def names(text: str) -> list[str]:
    return [each.get("kid", "") for each in json.loads(usable_keys(text).text)["keys"]]


def test_all_kinds_of_public_keys_are_kept_in_their_order() -> None:
    assert names(jwks(RSA | {"kid": "r"}, EC | {"kid": "e", "alg": "ES256"}, ED | {"kid": "d"})) == ["r", "e", "d"]


def test_what_is_no_part_of_the_key_is_left_out_and_private_members_first_of_all() -> None:
    extra = {"kid": "a", "alg": "ES256", "use": "sig", "key_ops": ["verify"], "x5c": ["MIIB"], "d": "private", "x-own": {"a": 1}}
    (kept,) = json.loads(usable_keys(jwks(EC | extra)).text)["keys"]
    assert kept == EC | {"kid": "a", "alg": "ES256"}


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (EC | {"use": "enc"}, "not for signatures"),
        (EC | {"key_ops": ["encrypt"]}, "not for signatures"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "shared secret"),
        (WEAK, "2048"),
        (EC | {"x": EC["y"]}, "no public key"),
        (EC | {"crv": "secp256k1"}, "not known"),
        ({"kty": "RSA", "x5c": ["MIIB"]}, "missing"),
        ({"kty": "OKP", "crv": "X25519", "x": ED["x"]}, "not known"),
        ("a text", "no object"),
    ],
)
def test_one_key_that_is_not_usable_spoils_no_other(key: Any, why: str) -> None:
    found = usable_keys(jwks(key, RSA | {"kid": "r"}))
    assert names(jwks(key, RSA | {"kid": "r"})) == ["r"]
    assert why in found.left_out[0]
    with pytest.raises(InvalidJwks, match=why):
        usable_keys(jwks(key))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("<html>", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no list"),
        ('{"keys": {}}', "no list"),
        ("{}", "no list"),
        ('{"keys": []}', "holds no key"),
        (jwks(*[EC] * 101), "more than 100"),
        (" " * ((1 << 20) + 1), "larger than"),
    ],
)
def test_what_is_no_set_of_keys_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(InvalidJwks, match=why):
        usable_keys(text)


def test_equal_sets_have_equal_bytes() -> None:
    other = dict(reversed((EC | {"kid": "a"}).items()))
    assert usable_keys(jwks(EC | {"kid": "a"})).text == usable_keys(json.dumps({"keys": [other]}, indent=2).encode()).text
