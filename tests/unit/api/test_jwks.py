"""Key sets of issuers: public keys that can verify are right; weak ones, secrets and what is no key are told, without their values."""

import base64
import json
from typing import Any

import pytest

from hauberk.api.jwks import jwks_faults

Key = dict[str, Any]
# Numbers of the size of a key; whether they are the product of two primes nobody can see.
RSA: Key = {
    "kty": "RSA",
    "n": base64.urlsafe_b64encode(b"\xc1" * 256).decode().rstrip("="),
    "e": "AQAB",
    "kid": "a",
    "use": "sig",
    "alg": "RS256",
}
# The examples of RFC 7515 (A.3.1) and RFC 8037 (A.2).
EC: Key = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
ED: Key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


def codes(*keys: Key) -> list[str]:
    return [code for code, _ in jwks_faults(json.dumps({"keys": keys}))]


def test_public_keys_of_the_three_types_are_right() -> None:
    assert codes(RSA, EC, ED) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"keys": []}', '{"keys": {}}', '{"keys": ["a"]}', "[" * 100_000, "x" * 70_000])
def test_what_is_no_key_set_is_refused(text: str) -> None:
    assert [code for code, _ in jwks_faults(text)] == ["HBK0320"]


@pytest.mark.parametrize(
    ("key", "change", "code"),
    [
        (RSA, {"n": base64.urlsafe_b64encode(b"\xc1" * 128).decode()}, "HBK0322"),
        (RSA, {"n": base64.urlsafe_b64encode(b"\xc1" * 2048).decode().rstrip("=")}, "HBK0320"),
        (RSA, {"e": "AQ"}, "HBK0322"),
        (RSA, {"n": "not base64!"}, "HBK0320"),
        (RSA, {"n": 5}, "HBK0320"),
        (EC, {"y": EC["x"]}, "HBK0320"),
        (EC, {"x": "AQ"}, "HBK0320"),
        (EC, {"crv": "P-384"}, "HBK0320"),
        (ED, {"x": "AQ"}, "HBK0320"),
    ],
)
def test_a_key_that_is_weak_or_none_is_refused(key: Key, change: Key, code: str) -> None:
    assert codes({**key, **change}) == [code]


@pytest.mark.parametrize("member", ["d", "p", "k", "oth"])
def test_a_secret_is_refused_and_not_repeated(member: str) -> None:
    ((code, message),) = jwks_faults(json.dumps({"keys": [{**EC, "kty": "oct", member: "c2VjcmV0"}]}))
    assert code == "HBK0321"
    assert "c2VjcmV0" not in message


def test_keys_that_cannot_verify_are_left_out_as_long_as_one_can() -> None:
    encryption, unknown = {**RSA, "use": "enc"}, {"kty": "EC", "crv": "secp256k1"}
    assert codes(RSA, encryption, unknown) == ["HBK0324", "HBK0324"]
    assert codes(encryption, unknown) == ["HBK0324", "HBK0324", "HBK0320"]


def test_a_set_has_a_bounded_number_of_keys() -> None:
    assert codes(*[ED] * 101) == ["HBK0320"]
