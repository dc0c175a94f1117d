"""One token (JWT, RFC 7519) held against one issuer of a RequestAuthentication: what the sidecar says of it, in its words.

The order of the checks is the sidecar's, so that of two faults both name the same: form, issuer, times, audience, signature.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, Final

from hauberk.api.jwt_rule import JwtRule
from hauberk.policy.claims import split_claims
from hauberk.policy.jwt_keys import ALGORITHMS, parse_keys, unbase64

SKEW: Final = timedelta(seconds=60)  # clocks may differ by so much
_GREATEST: Final = 2**64
_UNKNOWN_ISSUER: Final = "Jwt issuer is not configured"
_AUDIENCE: Final = "Audiences in Jwt are not allowed"


class _RefusedError(Exception):
    """The token is not accepted."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A rule and the keys (JWKS) it is verified with; without keys (`jwks` empty) every token is refused."""

    rule: JwtRule
    jwks: str


@dataclass(frozen=True, slots=True)
class TokenOutcome:
    """What one issuer's rule makes of a token: its `claims`, or why it is refused."""

    reason: str
    claims: Mapping[str, Any] | None = None

    @property
    def accepted(self) -> bool:
        return self.claims is not None

    @property
    def status(self) -> int:
        """What the caller is told: a wrong audience is another fault (403) than a bad token (401)."""
        return 200 if self.accepted else 403 if self.reason == _AUDIENCE else 401

    @property
    def of_another(self) -> bool:
        """It is of an issuer whom this rule is not about."""
        return self.reason == _UNKNOWN_ISSUER


def verify_token(token: str, issuer: Issuer, now: datetime) -> TokenOutcome:
    """What `issuer` says of `token` at the time `now`."""
    try:
        parsed = _parse(token)
        _check_issuer(parsed, issuer.rule)
        _check_times(parsed.payload, now)
        _check_audience(parsed, issuer.rule)
        _check_signature(parsed, issuer.jwks)
    except _RefusedError as refused:
        return TokenOutcome(str(refused))
    return TokenOutcome("", split_claims(parsed.payload, issuer.rule.space_delimited_claims))


@dataclass(frozen=True, slots=True)
class _Token:
    header: dict[str, Any]
    payload: dict[str, Any]
    audiences: tuple[str, ...]
    signature: bytes
    signed: bytes


def _parse(token: str) -> _Token:
    # Dots that separate nothing are passed over.
    parts = [part for part in token.split(".") if part]
    if len(parts) != 3:
        raise _RefusedError("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")
    header = _object(parts[0], "header")
    if not isinstance(header.get("alg"), str):
        raise _RefusedError("Jwt header [alg] field is required and must be a string")
    if header["alg"] not in ALGORITHMS:
        raise _RefusedError("Jwt header [alg] is not supported")
    if not isinstance(header.get("kid", ""), str):
        raise _RefusedError("Jwt header [kid] field is not a string")
    payload = _object(parts[1], "payload")
    audiences = _check_types(payload)
    signature = unbase64(parts[2])
    if not signature:
        raise _RefusedError("Jwt signature is an invalid Base64url encoded")
    return _Token(header, payload, audiences, signature, f"{parts[0]}.{parts[1]}".encode())


def _object(text: str, name: str) -> dict[str, Any]:
    encoded = unbase64(text)
    if not encoded:
        raise _RefusedError(f"Jwt {name} is an invalid Base64url encoded")
    try:
        found = json.loads(encoded, object_pairs_hook=_unique, parse_constant=_no_number, parse_int=_number, parse_float=_number)
        json.dumps(found, ensure_ascii=False).encode()  # half a character is none
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _RefusedError(f"Jwt {name} is an invalid JSON")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A claim that is written twice means one thing to one reader and another to the next."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a member is repeated")
    return dict(pairs)


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _number(text: str) -> int | float:
    """A number as the sidecar reads it: none that its floating point does not hold."""
    if not isfinite(float(text)):
        raise ValueError(text)
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _check_types(payload: dict[str, Any]) -> tuple[str, ...]:
    """The audiences; claims that have a meaning of their own must be of its type."""
    for name in ("iss", "sub"):
        if not isinstance(payload.get(name, ""), str):
            raise _RefusedError(f"Jwt payload [{name}] field is not a string")
    for name in ("iat", "nbf", "exp"):
        value = payload.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _RefusedError(f"Jwt payload [{name}] field is not an integer")
        if not 0 <= value < _GREATEST:
            raise _RefusedError(f"Jwt payload [{name}] field is not a positive 64 bit integer")
    if not isinstance(payload.get("jti", ""), str):
        raise _RefusedError("Jwt payload [jti] field is not a string")
    audience = payload.get("aud", ())
    if isinstance(audience, str):
        return (audience,)
    if not isinstance(audience, list | tuple) or not all(isinstance(each, str) for each in audience):
        raise _RefusedError("Jwt payload [aud] field is not a string or string list")
    return tuple(audience)


def _check_issuer(token: _Token, rule: JwtRule) -> None:
    if rule.issuer and token.payload.get("iss", "") != rule.issuer:
        raise _RefusedError(_UNKNOWN_ISSUER)


def _check_audience(token: _Token, rule: JwtRule) -> None:
    if rule.audiences and not _sanitized(rule.audiences) & _sanitized(token.audiences):
        raise _RefusedError(_AUDIENCE)


def _check_times(payload: dict[str, Any], now: datetime) -> None:
    seconds, skew = int(now.timestamp()), int(SKEW.total_seconds())
    if int(payload.get("nbf", 0)) > seconds + skew:
        raise _RefusedError("Jwt not yet valid")
    expires = int(payload.get("exp", 0))
    if expires and seconds > expires + skew:
        raise _RefusedError("Jwt is expired")


def _sanitized(audiences: Iterable[str]) -> frozenset[str]:
    """The sidecar compares them without a scheme and a last slash."""
    return frozenset(each.removeprefix("http://").removeprefix("https://").removesuffix("/") for each in audiences)


def _check_signature(token: _Token, jwks: str) -> None:
    if not jwks:
        raise _RefusedError("Jwks remote fetch is failed")
    kid, algorithm = token.header.get("kid", ""), token.header["alg"]
    usable = [key for key in parse_keys(jwks) if (not kid or not key.kid or key.kid == kid) and key.algorithm in ("", algorithm)]
    if not usable:
        raise _RefusedError("Jwks doesn't have key to match kid or alg from Jwt")
    if not any(key.verifies(algorithm, token.signature, token.signed) for key in usable):
        raise _RefusedError("Jwt verification fails")
