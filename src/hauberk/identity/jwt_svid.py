"""JWT-SVIDs: SPIFFE's profile of signed tokens (JWT-SVID, 2 to 4), in JWS compact form (RFC 7515, 3.1) and in no other.

Of the many things that JWTs may be, a token here is the one that the profile leaves: what is not known is refused before anything of it
is used. `algorithm` and key must fit each other, so no token chooses how it is checked.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hauberk.identity.jwk_key import InvalidJwk, PublicKey, decode_bytes, decode_public_key, encode_bytes
from hauberk.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from hauberk.identity.trust import JwtKey

MAX_TOKEN_BYTES: Final = 16 * 1024
# A token "not valid before" or "issued at" a moment that is a little ahead comes from a clock that is; its end has no tolerance.
SKEW: Final = timedelta(minutes=1)

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: Final = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
ALGORITHMS: Final = frozenset(f"{family}{size}" for family in ("RS", "ES", "PS") for size in _HASHES)
_HEADERS: Final = frozenset({"alg", "kid", "typ"})
_TYPES: Final = frozenset({"JWT", "JOSE"})
_LEAST_RSA_BITS: Final = 2048

# The keys that speak for a trust domain; None: that domain is not believed at all.
KeysOf = Callable[[str], Sequence[JwtKey] | None]


class InvalidJwtSvid(ValueError):
    """A token is not to be believed; the message says why and quotes nothing that would help to use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSvid:
    """What a token that was validated says."""

    spiffe_id: SpiffeId
    audience: tuple[str, ...]
    expires: datetime
    claims: Mapping[str, Any]
    key_id: str


@dataclass(frozen=True, slots=True)
class _Parts:
    """A token taken apart; nothing of it is proven."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def build_signing_input(
    *,
    algorithm: str,
    key_id: str,
    spiffe_id: SpiffeId,
    audience: Sequence[str],
    issued: datetime,
    expires: datetime,
    token_id: str = "",
    issuer: str = "",
) -> bytes:
    """What is to be signed for a token that says so much; ValueError if it would be none."""
    if algorithm not in ALGORITHMS or not key_id or not spiffe_id.is_workload or not audience or not all(audience):
        raise ValueError("a JWT-SVID names a key, a workload and an audience")
    header = {"alg": algorithm, "kid": key_id, "typ": "JWT"}
    claims: dict[str, Any] = {"sub": str(spiffe_id), "aud": list(audience), "iat": _seconds(issued), "exp": _seconds(expires)}
    claims |= {name: value for name, value in (("jti", token_id), ("iss", issuer)) if value}
    return b".".join(encode_bytes(json.dumps(part, separators=(",", ":")).encode()).encode() for part in (header, claims))


def assemble(signing_input: bytes, signature: bytes) -> str:
    """The token; `signature` has the form of JWS (for ECDSA both numbers side by side)."""
    return f"{signing_input.decode()}.{encode_bytes(signature)}"


def validate(token: str, *, audience: str, keys_of: KeysOf, now: datetime) -> JwtSvid:
    """What `token` says to `audience`; raises InvalidJwtSvid, also where nobody vouches for the trust domain of its subject."""
    if not audience:
        raise InvalidJwtSvid("nobody is named to be the audience")
    parts = _take_apart(token)
    algorithm, key_id = _check_header(parts.header)
    spiffe_id = _subject(parts.claims)
    keys = keys_of(spiffe_id.trust_domain)
    if keys is None:
        raise InvalidJwtSvid(f"trust domain {spiffe_id.trust_domain} is not trusted")
    signer = _verified_by(parts, algorithm, [key for key in keys if not key_id or key.key_id == key_id])
    return JwtSvid(
        spiffe_id=spiffe_id,
        audience=_check_audience(parts.claims, audience),
        expires=_check_times(parts.claims, now),
        claims=parts.claims,
        key_id=signer,
    )


def _take_apart(token: str) -> _Parts:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidJwtSvid(f"a token has at most {MAX_TOKEN_BYTES} bytes")
    texts = token.split(".")
    if len(texts) != 3:
        raise InvalidJwtSvid("not a signed token in compact form")
    try:
        header, claims, signature = (_decode(text) for text in texts)
        return _Parts(_object(header), _object(claims), ".".join(texts[:2]).encode(), signature)
    except InvalidJwk as exc:
        raise InvalidJwtSvid("the token is not base64url") from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidJwtSvid("the token's parts are not JSON objects with each member once") from exc


def _decode(text: str) -> bytes:
    # In pieces: `decode_bytes` is for the numbers of keys, and refuses what is longer than any of them.
    return b"".join(decode_bytes(text[start : start + 4096]) for start in range(0, max(len(text), 1), 4096))


def _object(data: bytes) -> Mapping[str, Any]:
    def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Readers differ in which of two members counts: such a token means two things.
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member twice")
        return found

    def no_constant(_: str) -> None:
        raise ValueError("not JSON")

    read = json.loads(data.decode("utf-8"), object_pairs_hook=once_each, parse_constant=no_constant)
    if not isinstance(read, dict):
        raise ValueError("no object")  # noqa: TRY004 - of the same kind as all other faults of a token
    return read


def _check_header(header: Mapping[str, Any]) -> tuple[str, str]:
    """Algorithm and key id (empty: it says none); everything else a header may hold makes a token do more than it should."""
    algorithm, key_id, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidJwtSvid(f"its algorithm {str(algorithm)[:20]!r} is none that a JWT-SVID may have")
    if more := header.keys() - _HEADERS:
        raise InvalidJwtSvid(f"its header has the parameter {min(more)[:20]!r}, which a JWT-SVID does not have")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise InvalidJwtSvid("its type is neither JWT nor JOSE")
    if not isinstance(key_id, str):
        raise InvalidJwtSvid("its key id is no text")
    return algorithm, key_id


def _subject(claims: Mapping[str, Any]) -> SpiffeId:
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise InvalidJwtSvid("it names no subject")
    try:
        spiffe_id = SpiffeId.parse(subject)
    except InvalidSpiffeId as exc:
        raise InvalidJwtSvid(f"its subject is not a SPIFFE ID: {exc}") from exc
    if not spiffe_id.is_workload:
        raise InvalidJwtSvid("its subject is a trust domain, not a workload")
    return spiffe_id


def _check_audience(claims: Mapping[str, Any], audience: str) -> tuple[str, ...]:
    given = claims.get("aud")
    named = [given] if isinstance(given, str) else given
    if not isinstance(named, list) or not named or not all(isinstance(each, str) for each in named):
        raise InvalidJwtSvid("it names no audience")
    if audience not in named:
        raise InvalidJwtSvid(f"it is meant for others, not for {audience[:80]!r}")
    return tuple(named)


def _check_times(claims: Mapping[str, Any], now: datetime) -> datetime:
    expires = _moment(claims, "exp")
    if expires is None:
        raise InvalidJwtSvid("it does not say when it ends")
    if expires <= now:
        raise InvalidJwtSvid("it has expired")
    for name in ("nbf", "iat"):
        if (since := _moment(claims, name)) is not None and since > now + SKEW:
            raise InvalidJwtSvid("it is not valid yet")
    return expires


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    """A NumericDate (RFC 7519, 2)."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidJwtSvid(f"its {name} is no time")
    try:
        # Also one of 400 digits, and one that is read as infinite.
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError) as exc:
        raise InvalidJwtSvid(f"its {name} is no time that a calendar holds") from exc


def _seconds(when: datetime) -> int:
    return int(when.timestamp())


def _verified_by(parts: _Parts, algorithm: str, keys: Iterable[JwtKey]) -> str:
    """The id of the key that has signed; keys without an id in the token are all tried, which are few."""
    for key in keys:
        try:
            _verify(decode_public_key(json.loads(key.jwk)), algorithm, parts)
        except (InvalidSignature, ValueError):
            continue
        return key.key_id
    raise InvalidJwtSvid("no key of its trust domain has signed it")


def _verify(key: PublicKey, algorithm: str, parts: _Parts) -> None:
    digest = _HASHES[algorithm[2:]]
    match key, algorithm[:2]:
        case ec.EllipticCurvePublicKey(), "ES" if isinstance(key.curve, _CURVES[algorithm]):
            size = (key.curve.key_size + 7) // 8
            if len(parts.signature) != 2 * size:
                raise InvalidSignature
            r, s = (int.from_bytes(half) for half in (parts.signature[:size], parts.signature[size:]))
            key.verify(encode_dss_signature(r, s), parts.signed, ec.ECDSA(digest))
        case rsa.RSAPublicKey(), "RS" if key.key_size >= _LEAST_RSA_BITS:
            key.verify(parts.signature, parts.signed, padding.PKCS1v15(), digest)
        case rsa.RSAPublicKey(), "PS" if key.key_size >= _LEAST_RSA_BITS:
            # RFC 7518, 3.5: the salt is as long as the hash.
            key.verify(parts.signature, parts.signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        case _:
            raise InvalidSignature
