"""Requests with tokens, and what becomes of them: one table for the engine and for a real Envoy, which must agree on every row."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hauberk.api.request_authentication import RequestAuthentication
from hauberk.identity.jwk_key import encode_public_key

Claims = Mapping[str, Any]
Headers = tuple[tuple[str, str], ...]
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

ALICE, BOB, KEYLESS = "https://alice.example", "https://bob.example/", "https://keyless.example"

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
RSA: Final = rsa.generate_private_key(65537, 2048)
STRANGER: Final = rsa.generate_private_key(65537, 2048)
BOBS: Final = ec.generate_private_key(ec.SECP256R1())
KEYS: Final[Mapping[str, Private]] = {
    "rsa": RSA,
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
}
PUBLIC_PEM: Final = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
NOW: Final = int(time.time())

NO_FORM = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
NO_ISSUER = "Jwt issuer is not configured"
NO_JSON = "Jwt payload is an invalid JSON"
NO_MATCH = "Jwks doesn't have key to match kid or alg from Jwt"
NOT_VERIFIED = "Jwt verification fails"
AMBIGUOUS = "RBAC: access denied"
NO_AUDIENCE = "Audiences in Jwt are not allowed"


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwks(*keys: tuple[str, Private]) -> str:
    return json.dumps({"keys": [encode_public_key(key.public_key()) | {"kid": kid} for kid, key in keys]})


def signature(key: Private | bytes, algorithm: str, signed: bytes) -> bytes:
    digest = _HASHES.get(algorithm[2:], hashes.SHA256())
    match key:
        case bytes():
            mac = hmac.HMAC(key, digest)
            mac.update(signed)
            return mac.finalize()
        case rsa.RSAPrivateKey() if algorithm.startswith("PS"):
            return key.sign(signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        case rsa.RSAPrivateKey():
            return key.sign(signed, padding.PKCS1v15(), digest)
        case ec.EllipticCurvePrivateKey():
            size = (key.curve.key_size + 7) // 8
            return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(key.sign(signed, ec.ECDSA(digest))))
        case ed25519.Ed25519PrivateKey():
            return key.sign(signed)


def token(
    claims: Claims | str | None = None,
    *,
    key: Private | bytes = RSA,
    algorithm: str = "RS256",
    kid: str | int | None = "rsa",
    **header: Any,
) -> str:
    """A token; `claims` as text is the payload as it stands."""
    head = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid is not None else {}) | header
    payload = claims if isinstance(claims, str) else json.dumps(says() if claims is None else claims)
    signed = f"{encode(json.dumps(head).encode())}.{encode(payload.encode())}"
    return f"{signed}.{encode(signature(key, algorithm, signed.encode()))}"


def says(**changed: Any) -> dict[str, Any]:
    """What a good token of ALICE says; `...` leaves a claim out."""
    claims = {"iss": ALICE, "sub": "joe", "exp": NOW + 3600, "groups": ["readers"], "scope": "read write"} | changed
    return {name: value for name, value in claims.items() if value is not ...}


def of_bob(**changed: Any) -> str:
    return token(says(iss=BOB, sub="bob", aud="shop", **changed), key=BOBS, algorithm="ES256", kid="bob")


@dataclass(frozen=True, slots=True)
class Case:
    """One request to a workload with the rules `rules`: its `status`; whose it is at the program, or why it is refused.

    `brief`: so only for some seconds after `NOW`.
    """

    name: str
    rules: str
    status: int
    headers: Headers = ()
    query: str = ""
    subject: str | None = None
    reason: str = ""
    brief: bool = False

    def __str__(self) -> str:
        return f"{self.rules}: {self.name}"


_OUTPUTS: Final = {"outputClaimToHeaders": [{"header": "X-Sub", "claim": "sub"}], "outputPayloadToHeader": "x-payload"}
_ALICE: Final = {"issuer": ALICE, "jwks": jwks(*KEYS.items())}
_BOB: Final = {"issuer": BOB, "jwks": jwks(("bob", BOBS)), "audiences": ["shop"]}
RULES: Final[Mapping[str, list[dict[str, Any]]]] = {
    "one": [{**_ALICE, **_OUTPUTS}],
    "two": [{**_ALICE, **_OUTPUTS}, {**_BOB, **_OUTPUTS}],
    "apart": [
        {**_ALICE, **_OUTPUTS},
        {**_BOB, "fromHeaders": [{"name": "X-Bob"}], "outputClaimToHeaders": [{"header": "x-bob-sub", "claim": "sub"}]},
    ],
    "named": [
        {
            **_ALICE,
            **_OUTPUTS,
            "fromHeaders": [{"name": "X-Token", "prefix": "T="}, {"name": "X-Bare"}],
            "fromParams": ["tok"],
            "fromCookies": ["session"],
        }
    ],
    "header": [{**_ALICE, **_OUTPUTS, "fromHeaders": [{"name": "x-jwt"}]}],
    "cookie": [{**_ALICE, **_OUTPUTS, "fromCookies": ["session"]}],
    "spellings": [{**_ALICE, **_OUTPUTS, "fromHeaders": [{"name": "Authorization", "prefix": each} for each in ("Bearer ", "bearer ")]}],
    "keyless": [{"issuer": KEYLESS, "jwksUri": "https://nobody.invalid/keys"}, {**_ALICE, **_OUTPUTS}],
    "twice": [{**_ALICE, **_OUTPUTS, "audiences": ["a"]}, {**_ALICE, **_OUTPUTS, "audiences": ["b"]}],
}


def authentications(rules: str, *, outputs: bool = True) -> tuple[RequestAuthentication, ...]:
    """The objects of one set of rules; one each, since one object names no issuer twice. Without `outputs` nothing is told the program."""
    return tuple(
        RequestAuthentication.model_validate(
            {
                "metadata": {"name": f"{rules}-{index}", "namespace": "shop"},
                "spec": {"jwtRules": [{name: value for name, value in rule.items() if outputs or not name.startswith("output")}]},
            }
        )
        for index, rule in enumerate(RULES[rules])
    )


def bearer(text: str) -> Headers:
    return (("Authorization", f"Bearer {text}"),)


def passes(name: str, headers: Headers, rules: str = "one", *, subject: str | None = "joe", query: str = "") -> Case:
    return Case(name, rules, 200, headers, query, subject=subject)


def fails(name: str, headers: Headers, reason: str, rules: str = "one", *, query: str = "", status: int = 401) -> Case:
    return Case(name, rules, status, headers, query, reason=reason)


def _algorithms() -> Iterator[Case]:
    for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        yield passes(algorithm, bearer(token(algorithm=algorithm)))
    for kid, algorithm in (("p256", "ES256"), ("p384", "ES384"), ("p521", "ES512"), ("ed", "EdDSA")):
        yield passes(algorithm, bearer(token(key=KEYS[kid], algorithm=algorithm, kid=kid)))
        yield fails(f"{algorithm} under the name of another key", bearer(token(key=KEYS[kid], algorithm=algorithm)), NOT_VERIFIED)
    yield passes("no kid", bearer(token(kid=None)))
    unsigned = encode(b'{"alg":"none"}') + "." + encode(json.dumps(says()).encode()) + "."
    yield fails("alg none", bearer(unsigned), NO_FORM)
    yield fails("alg none with a signature", bearer(unsigned + "AA"), "Jwt header [alg] is not supported")
    yield fails("alg of no name", bearer(token(alg="rs256")), "Jwt header [alg] is not supported")
    yield fails("alg of another type", bearer(token(alg=["RS256"])), "Jwt header [alg] field is required and must be a string")
    yield fails("HS256 with the public key", bearer(token(key=PUBLIC_PEM, algorithm="HS256")), NOT_VERIFIED)
    yield fails("unknown kid", bearer(token(kid="other")), NO_MATCH)
    yield fails("kid of another type", bearer(token(kid=3)), "Jwt header [kid] field is not a string")
    yield fails("signed by a stranger", bearer(token(key=STRANGER)), NOT_VERIFIED)
    own = encode_public_key(STRANGER.public_key())
    yield fails("with its own key in the header", bearer(token(key=STRANGER, jwk=own)), NOT_VERIFIED)


def _times() -> Iterator[Case]:
    good: dict[str, dict[str, Any]] = {
        "valid soon, within the tolerance": {"nbf": NOW + 30},
        "without an end": {"exp": ...},
        "an end in the far future": {"exp": 2**62},
        "an end with a fraction": {"exp": NOW + 3600.5},
        "issued in the future": {"iat": NOW + 9999},
    }
    for name, changed in good.items():
        yield passes(name, bearer(token(says(**changed))))
    yield replace(passes("expired within the tolerance", bearer(token(says(exp=NOW - 20)))), brief=True)
    whole, positive = "Jwt payload [{}] field is not an integer", "Jwt payload [{}] field is not a positive 64 bit integer"
    faults: dict[str, tuple[dict[str, Any], str]] = {
        "expired": ({"exp": NOW - 100}, "Jwt is expired"),
        "not yet valid": ({"nbf": NOW + 9999}, "Jwt not yet valid"),
        "an end that is text": ({"exp": str(NOW + 3600)}, whole.format("exp")),
        "an end that is true": ({"exp": True}, whole.format("exp")),
        "an end that is null": ({"exp": None}, whole.format("exp")),
        "an end that is a list": ({"exp": [NOW + 3600]}, whole.format("exp")),
        "an end before all time": ({"exp": -1}, positive.format("exp")),
        "an absurd end": ({"exp": 1e300}, positive.format("exp")),
        "an end of 65 bits": ({"exp": 2**64}, positive.format("exp")),
        "an absurd beginning": ({"nbf": 1e300}, positive.format("nbf")),
        "a beginning that is text": ({"nbf": "x"}, whole.format("nbf")),
        "an issue that is text": ({"iat": "x"}, whole.format("iat")),
    }
    for name, (changed, reason) in faults.items():
        yield fails(name, bearer(token(says(**changed))), reason)


def _claims() -> Iterator[Case]:
    text = "Jwt payload [{}] field is not a string"
    faults: dict[str, tuple[dict[str, Any], str]] = {
        "another issuer": ({"iss": "https://mallory.example"}, NO_ISSUER),
        "the issuer with a slash": ({"iss": ALICE + "/"}, NO_ISSUER),
        "the issuer in capitals": ({"iss": ALICE.upper()}, NO_ISSUER),
        "no issuer": ({"iss": ...}, NO_ISSUER),
        "issuers": ({"iss": [ALICE]}, text.format("iss")),
        "a subject that is a number": ({"sub": 3}, text.format("sub")),
        "subjects": ({"sub": ["joe"]}, text.format("sub")),
        "a subject that is null": ({"sub": None}, text.format("sub")),
        "an id that is a number": ({"jti": 5}, text.format("jti")),
        "an audience that is a number": ({"aud": 3}, "Jwt payload [aud] field is not a string or string list"),
        "audiences of two types": ({"aud": [3, "a"]}, "Jwt payload [aud] field is not a string or string list"),
    }
    for name, (changed, reason) in faults.items():
        yield fails(name, bearer(token(says(**changed))), reason)
    good = json.dumps(says())
    for name, payload in {
        "a subject twice": good[:-1] + ',"sub":"root"}',
        "an issuer twice": good[:-1] + f',"iss":"{ALICE}"}}',
        "a claim within a claim twice": good[:-1] + ',"x":{"a":1,"a":2}}',
        "a list": "[1]",
        "no JSON": "{",
        "no number": good[:-1] + ',"x":NaN}',
        "half a character": good[:-1] + ',"x":"\\ud800"}',
        "a number of 400 digits": good[:-1] + f',"x":{"9" * 400}}}',
        "a thousand lists in each other": good[:-1] + f',"x":{"[" * 1000}{"]" * 1000}}}',
    }.items():
        yield fails(f"claims: {name}", bearer(token(payload)), NO_JSON)
    yield passes("no subject", bearer(token(says(sub=...))), subject="")


def _forms() -> Iterator[Case]:
    good = token()
    head, payload, sign = good.split(".")
    yield passes("padded", bearer(good + "=="))
    yield passes("with dots that separate nothing", bearer(f".{head}..{payload}.{sign}."))
    yield passes("with something before it that no token has", bearer(f',"{good}'.replace(",", "'")))
    yield fails("with something behind it that no token has", bearer(f"{good};"), "Jwt signature is an invalid Base64url encoded")
    for name, text, reason in (
        ("two parts", f"{head}.{payload}", NO_FORM),
        ("four parts", f"{good}.AA", NO_FORM),
        ("garbage", "garbage", NO_FORM),
        ("no signature", f"{head}.{payload}.", NO_FORM),
        ("short garbage in three parts", "a.b.c", "Jwt header is an invalid Base64url encoded"),
        ("another signature", f"{head}.{payload}.{'A' * len(sign)}", NOT_VERIFIED),
        ("changed claims", f"{head}.{encode(json.dumps(says(sub='root')).encode())}.{sign}", NOT_VERIFIED),
    ):
        yield fails(name, bearer(text), reason)
    yield passes("another scheme", (("Authorization", "Basic am9lOmpvZQ=="),), subject=None)
    yield passes("the scheme alone", (("Authorization", "bearer"),), subject=None)
    yield passes("a scheme that only begins alike", (("Authorization", f"Bearers {good}"),), subject=None)
    yield passes("nothing", (), subject=None)
    yield Case("100 kB", "one", 431, bearer(token(says(x="a" * 75_000))))


def _places() -> Iterator[Case]:
    good, other = token(), token(says(sub="other"))
    yield passes("in the query", (), query=f"?a=1&access_token={good}&b=2")
    yield passes("two good ones: that of the header counts", bearer(good), query=f"?access_token={other}")
    yield fails("a good one and a bad one in the query", bearer(good), NO_FORM, query="?access_token=bad")
    yield fails("a bad one and a good one in the query", bearer("bad"), NO_FORM, query=f"?access_token={good}")
    for name, headers in {
        "two headers, a good one first": bearer(good) + bearer("bad"),
        "two headers, a bad one first": bearer("bad") + bearer(good),
        "two headers, both good": bearer(good) + bearer(other),
        "two tokens in one header": bearer(f"{good}, Bearer {other}"),
        "another scheme first": (("Authorization", "Basic am9lOmpvZQ=="), *bearer(good)),
    }.items():
        yield fails(name, headers, AMBIGUOUS, status=403)
    for scheme in ("bearer ", "BEARER ", "Bearer\t", "bearer\t", "Bearer:"):
        spelled = (("Authorization", f"{scheme}{good}"),)
        yield fails(f"the scheme spelled {scheme!r}", spelled, AMBIGUOUS, status=403)
        yield fails(f"the scheme spelled {scheme!r} beside a good one", spelled, AMBIGUOUS, query=f"?access_token={good}", status=403)
    for name, text in {
        "before the usual one": f"bearer {other} Bearer {good}",
        "behind another": f"Basic am9lOmpvZQ==, bearer {good}",
    }.items():
        yield fails(f"a scheme in small letters {name}", (("Authorization", text),), AMBIGUOUS, status=403)
    for scheme in ("bearer ", "Bearer "):
        yield passes(f"both spellings are looked for: {scheme}", (("Authorization", f"{scheme}{good}"),), "spellings")
    yield fails("both spellings are looked for, a third comes", (("Authorization", f"BEARER {good}"),), AMBIGUOUS, "spellings", status=403)
    for name, query in {
        "a parameter twice": f"?access_token={good}&access_token={other}",
        "a parameter twice, once escaped": f"?a=1&access%5Ftoken={good}&b=2&%61ccess_token=bad",
        "a parameter twice, once empty": f"?access_token&access_token={good}",
        "a parameter twice, one at the end": f"?access_token={good}&access_token",
    }.items():
        yield fails(name, (), AMBIGUOUS, query=query, status=403)
    yield passes("a parameter whose name only ends alike", (), query=f"?my_access_token=x&access_token={good}&access_tokens=y")
    named = "named"
    yield passes("the usual place is not looked at", bearer("bad"), named, subject=None)
    yield passes("a header with a prefix", (("x-token", f"T={good}"),), named)
    yield passes("another prefix", (("x-token", good),), named, subject=None)
    yield passes("a header without a prefix", (("X-BARE", good),), named)
    yield fails("a header without a prefix and no token", (("x-bare", "x"),), NO_FORM, named)
    yield passes("a named parameter", (), named, query=f"?tok={good}")
    yield passes("a cookie", (("cookie", f"a=b; session={good}; c=d"),), named)
    yield passes("a cookie of another name", (("cookie", f"sessions={good}"),), named, subject=None)
    three = (("x-bare", good), ("cookie", f"session={other}"))
    yield passes("three good ones: the header counts", three, named, query=f"?tok={other}")
    for name, headers in {
        "a header twice": (("x-bare", good), ("x-bare", other)),
        "a header with a prefix twice": (("x-token", f"T={good}"), ("X-Token", "other")),
        "a cookie twice": (("cookie", f"session={good}; a=b; session={other}"),),
        "a cookie in two headers": (("cookie", f"session={good}"), ("cookie", "session=bad")),
    }.items():
        yield fails(name, headers, AMBIGUOUS, named, status=403)
    for name, cookie in {
        "a blank behind": f"session={good}; session ={other}",
        "a blank behind the first": f"session ={other};session={good}",
        "nothing but a blank behind": f"session ={good}",
        "a tab before": f"a=b;\tsession={good}",
    }.items():
        yield fails(f"a cookie's name with {name}", (("cookie", cookie),), AMBIGUOUS, named, status=403)
    for name, query in {"beside a good one": f"?a=1;tok={other}&tok={good}", "alone": f"?a=1;tok={good}"}.items():
        yield fails(f"a parameter behind a semicolon {name}", (), AMBIGUOUS, named, query=query, status=403)
    yield passes("a cookie with a blank behind it", (("cookie", f"session={good} ; a=b"),), named)
    yield passes("a cookie with a tab behind it", (("cookie", f"session={good}\t; a=b"),), named)
    yield passes("a header with commas but without the prefix", (("x-token", "a, b"),), named, subject=None)
    yield fails("a good header and a bad cookie", (("x-bare", good), ("cookie", "session=bad")), NO_FORM, named)


def _one_place() -> Iterator[Case]:
    for rules, name, value in (("header", "x-jwt", "{}"), ("cookie", "cookie", "session={}")):
        yield passes("good", ((name, value.format(token())),), rules)
        yield fails("signed by a stranger", ((name, value.format(token(key=STRANGER))),), NOT_VERIFIED, rules)
        yield passes("nothing there", bearer("bad"), rules, subject=None)


def _issuers() -> Iterator[Case]:
    alice, bob = token(), of_bob()
    yield passes("the first issuer", bearer(alice), "two")
    yield passes("the second issuer", bearer(bob), "two", subject="bob")
    yield passes("both: that of the header counts", bearer(bob), "two", subject="bob", query=f"?access_token={alice}")
    yield passes("both, the other way round", bearer(alice), "two", query=f"?access_token={bob}")
    yield fails("one of both signed for the other", bearer(token(says(iss=BOB, aud="shop"))), NO_MATCH, "two")
    yield fails("of neither", bearer(token(says(iss="https://mallory.example"))), NO_ISSUER, "two")
    for name, audience in {"another": "bank", "none": ..., "an empty list": [], "a part of it": "sho"}.items():
        text = token(says(iss=BOB, sub="bob", aud=audience), key=BOBS, algorithm="ES256", kid="bob")
        yield fails(f"audience: {name}", bearer(text), NO_AUDIENCE, "two", status=403)
    for name, audience in {"one of many": ["bank", "shop"], "with a scheme and a slash": "https://shop/"}.items():
        text = token(says(iss=BOB, sub="bob", aud=audience), key=BOBS, algorithm="ES256", kid="bob")
        yield passes(f"audience: {name}", bearer(text), "two", subject="bob")
    yield passes("each in its own place", (*bearer(alice), ("x-bob", bob)), "apart")
    yield fails("each in the other's place", bearer(bob), NO_ISSUER, "apart")
    yield fails("a good one, and a bad one in the other's place", (*bearer(alice), ("x-bob", "bad")), NO_FORM, "apart")
    yield fails("a bad one, and a good one in the other's place", (*bearer("bad"), ("x-bob", bob)), NO_FORM, "apart")
    keyless = token(says(iss=KEYLESS))
    yield fails("an issuer without keys", bearer(keyless), "Jwks remote fetch is failed", "keyless")
    yield passes("another issuer beside it", bearer(alice), "keyless")
    yield passes("no token beside it", (), "keyless", subject=None)
    for audience in ("a", "b"):
        yield passes(f"an issuer in two rules: {audience}", bearer(token(says(aud=audience))), "twice")
    yield fails("an issuer in two rules: neither", bearer(token(says(aud="c"))), NO_AUDIENCE, "twice", status=403)


CASES: Final = (*_algorithms(), *_times(), *_claims(), *_forms(), *_places(), *_one_place(), *_issuers())
