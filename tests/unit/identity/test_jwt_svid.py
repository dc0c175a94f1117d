"""JWT-SVIDs by the numbers of SPIFFE's texts (17 to 20, 37): what is signed, and what is not believed."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hauberk.identity.jwk_key import encode_bytes, encode_public_key
from hauberk.identity.jwt_svid import ALGORITHMS, InvalidJwtSvid, JwtSvid, assemble, build_signing_input, validate
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.trust import JwtKey

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
END = NOW + timedelta(minutes=5)
WEB = SpiffeId("cluster.local", "/ns/shop/sa/web")
KEY = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
HEADER = {"alg": "ES256", "kid": "k1", "typ": "JWT"}
CLAIMS = {"sub": str(WEB), "aud": ["api"], "exp": END.timestamp()}


def key_of(public: Any, key_id: str = "k1") -> JwtKey:
    return JwtKey(key_id=key_id, jwk=json.dumps({**encode_public_key(public), "use": "jwt-svid", "kid": key_id}))


def trusting(*keys: JwtKey, domain: str = "cluster.local") -> Callable[[str], Sequence[JwtKey] | None]:
    return lambda name: keys if name == domain else None


def signed(data: bytes, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def token(header: Any = None, claims: Any = None, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    parts = [json.dumps(HEADER if header is None else header), json.dumps(CLAIMS if claims is None else claims)]
    data = ".".join(encode_bytes(part.encode()) for part in parts).encode()
    return assemble(data, signed(data, key))


def read(text: str, audience: str = "api", now: datetime = NOW) -> JwtSvid:
    return validate(text, audience=audience, keys_of=trusting(key_of(KEY.public_key())), now=now)


def built(**changes: Any) -> bytes:
    given: dict[str, Any] = {
        "algorithm": "ES256",
        "key_id": "k1",
        "spiffe_id": WEB,
        "audience": ("api", "b"),
        "issued": NOW,
        "expires": END,
    }
    return build_signing_input(**(given | changes))


def test_what_is_built_is_believed_by_its_audience() -> None:
    data = built(token_id="t1", issuer="https://oidc.example.org")
    svid = read(assemble(data, signed(data)))
    assert (svid.spiffe_id, svid.audience, svid.expires, svid.key_id) == (WEB, ("api", "b"), END, "k1")
    assert (svid.claims["jti"], svid.claims["iss"]) == ("t1", "https://oidc.example.org")


@pytest.mark.parametrize(
    "changes", [{"audience": ()}, {"audience": ("",)}, {"key_id": ""}, {"algorithm": "HS256"}, {"spiffe_id": SpiffeId("a")}]
)
def test_what_would_be_no_token_is_not_built(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="JWT-SVID"):
        built(**changes)


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c.d", "!.!.!", "é.é.é", json.dumps({"payload": "x", "signatures": []}), "." * 2, "a" * 20_000]
)
def test_only_the_compact_form_is_read(text: str) -> None:
    with pytest.raises(InvalidJwtSvid):
        read(text)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "EdDSA", "", None, 7, "ES256 "])
def test_other_algorithms_are_refused_before_anything_else_is_looked_at(algorithm: object) -> None:
    with pytest.raises(InvalidJwtSvid, match="algorithm"):
        read(token(HEADER | {"alg": algorithm}, {"sub": "nonsense"}))


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "cty"])
def test_a_header_has_no_further_parameters(name: str) -> None:
    with pytest.raises(InvalidJwtSvid, match=name):
        read(token(HEADER | {name: "x"}))


@pytest.mark.parametrize("kind", ["wit+jwt", "at+jwt", "jwt", 1])
def test_a_type_is_jwt_or_jose(kind: object) -> None:
    assert read(token(HEADER | {"typ": "JOSE"})) and read(token({"alg": "ES256", "kid": "k1"}))
    with pytest.raises(InvalidJwtSvid, match="type"):
        read(token(HEADER | {"typ": kind}))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"sub": None}, "subject"),
        ({"sub": "https://cluster.local/x"}, "SPIFFE ID"),
        ({"sub": "spiffe://cluster.local"}, "not a workload"),
        ({"sub": "spiffe://cluster.local/a/../b"}, "SPIFFE ID"),
        ({"sub": "spiffe://elsewhere/web"}, "not trusted"),
        ({"aud": None}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": ["other"]}, "others"),
        ({"aud": "API"}, "others"),
        ({"aud": ["api", 1]}, "audience"),
        ({"exp": None}, "ends"),
        ({"exp": "soon"}, "no time"),
        ({"exp": True}, "no time"),
        ({"exp": 1e300}, "no time"),
        ({"exp": 10**400}, "no time"),
        ({"nbf": 10**400}, "no time"),
        ({"exp": NOW.timestamp()}, "expired"),
        ({"nbf": END.timestamp()}, "not valid yet"),
        ({"iat": END.timestamp()}, "not valid yet"),
    ],
)
def test_claims_that_do_not_hold_are_refused(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidJwtSvid, match=reason):
        read(token(claims=CLAIMS | claims))


def test_an_audience_may_be_a_single_text_and_must_be_asked_for() -> None:
    assert read(token(claims=CLAIMS | {"aud": "api"})).audience == ("api",)
    with pytest.raises(InvalidJwtSvid, match="audience"):
        read(token(), audience="")


def test_a_token_of_a_clock_a_little_ahead_is_believed() -> None:
    assert read(token(claims=CLAIMS | {"iat": (NOW + timedelta(seconds=30)).timestamp()}))


def test_a_token_without_key_id_is_tried_with_every_key() -> None:
    assert read(token({"alg": "ES256"})).key_id == "k1"


def test_the_signature_must_be_by_the_key_that_the_token_names() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    for text in (token(key=other), token(HEADER | {"kid": "k2"})):
        with pytest.raises(InvalidJwtSvid, match="no key"):
            read(text)


def test_a_changed_token_is_refused() -> None:
    head, _, signature = token().split(".")
    more = encode_bytes(json.dumps(CLAIMS | {"sub": "spiffe://cluster.local/ns/shop/sa/admin"}).encode())
    with pytest.raises(InvalidJwtSvid, match="no key"):
        read(f"{head}.{more}.{signature}")


def test_a_signature_as_x509_has_it_is_refused() -> None:
    data = built()
    der = KEY.sign(data, ec.ECDSA(hashes.SHA256()))
    for signature in (der, signed(data)[:-1], bytes(64), b""):
        with pytest.raises(InvalidJwtSvid):
            read(assemble(data, signature))


def test_an_algorithm_that_is_not_the_keys_is_refused() -> None:
    data = built(algorithm="ES384")
    with pytest.raises(InvalidJwtSvid, match="no key"):
        read(assemble(data, signed(data)))


def test_keys_of_others_are_rsa_too() -> None:
    hashed = hashes.SHA256()
    ways = {"RS256": padding.PKCS1v15(), "PS256": padding.PSS(padding.MGF1(hashed), hashed.digest_size)}
    for algorithm, way in ways.items():
        data = built(algorithm=algorithm)
        text = assemble(data, RSA.sign(data, way, hashed))
        assert validate(text, audience="api", keys_of=trusting(key_of(RSA.public_key())), now=NOW).spiffe_id == WEB


def test_a_weak_key_vouches_for_nobody() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    data = built(algorithm="RS256")
    text = assemble(data, weak.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    with pytest.raises(InvalidJwtSvid, match="no key"):
        validate(text, audience="api", keys_of=trusting(key_of(weak.public_key())), now=NOW)


def test_a_domain_whose_keys_were_all_withdrawn_vouches_for_nobody() -> None:
    with pytest.raises(InvalidJwtSvid, match="no key"):
        validate(token(), audience="api", keys_of=trusting(), now=NOW)


def test_a_member_that_appears_twice_means_two_things_and_is_refused() -> None:
    head = encode_bytes(json.dumps(HEADER).encode())
    twice = json.dumps(CLAIMS)[:-1] + ', "sub": "spiffe://cluster.local/ns/shop/sa/admin"}'
    data = f"{head}.{encode_bytes(twice.encode())}".encode()
    with pytest.raises(InvalidJwtSvid, match="once"):
        read(assemble(data, signed(data)))


def test_the_algorithms_are_those_of_the_profile() -> None:
    assert sorted(ALGORITHMS) == ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]


def test_no_refusal_quotes_the_token() -> None:
    text = token(claims=CLAIMS | {"exp": NOW.timestamp()})
    with pytest.raises(InvalidJwtSvid) as caught:
        read(text)
    assert not any(part in str(caught.value) for part in text.split("."))


def test_a_time_that_is_read_as_infinite_is_none() -> None:
    data = ".".join(
        encode_bytes(part.encode()) for part in (json.dumps(HEADER), json.dumps(CLAIMS | {"exp": 0}).replace(": 0", ": 1e999"))
    ).encode()
    with pytest.raises(InvalidJwtSvid, match="no time"):
        read(assemble(data, signed(data)))
