"""What an operator may set about tokens: how long they live, whose they say to be, and where the outside finds the keys to check them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hauberk.citadel.settings import parse_lifetime

ISSUER_VARIABLE: Final = "HAUBERK_JWT_ISSUER"
TOKEN_LIFETIME_VARIABLE: Final = "HAUBERK_JWT_LIFETIME"  # noqa: S105 - a variable's name
KEY_LIFETIME_VARIABLE: Final = "HAUBERK_JWT_KEY_LIFETIME"
LISTEN_VARIABLE: Final = "HAUBERK_OIDC_LISTEN"
CERTIFICATE_VARIABLE: Final = "HAUBERK_OIDC_CERTIFICATE"
TLS_KEY_VARIABLE: Final = "HAUBERK_OIDC_KEY"


class InvalidIssuer(ValueError):
    """The setting of the issuer is not a URL that OpenID Connect Discovery allows."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"{ISSUER_VARIABLE}={text!r} is no issuer: {why}; write for example https://oidc.example.org")


class InvalidOidcListen(ValueError):
    """The address for validators outside, or what its server is to show, cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcListen:
    """Where the discovery document is served. Without certificate and key in the clear, for a server before it that has TLS."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """Tokens and the keys that sign them."""

    # A token cannot be taken back, so it lives for minutes; whoever holds an identity gets another at once.
    token_lifetime: timedelta = timedelta(minutes=5)
    # What may be asked for beyond that.
    longest_token: timedelta = timedelta(hours=1)
    # The next key is prepared at half of this.
    key_lifetime: timedelta = timedelta(days=60)
    # Those outside fetch the keys when they like, and cannot confirm it: a key is published so long before its first signature
    # (SPIFFE Federation, 5.1: three to five refresh hints, of which ours is five minutes; where it is set to be longer, longer).
    publish_ahead: timedelta = timedelta(minutes=25)
    # The claim `iss`, and where the discovery document stands; empty: tokens have none, and only SPIFFE's validators can use them.
    issuer: str = ""
    listen: OidcListen | None = None


def read_jwt_settings(environment: Mapping[str, str] | None = None) -> JwtSettings:
    """The settings with what the environment overrides; raises InvalidLifetime or InvalidIssuer."""
    given = os.environ if environment is None else environment
    usual = JwtSettings()
    token, key = given.get(TOKEN_LIFETIME_VARIABLE, ""), given.get(KEY_LIFETIME_VARIABLE, "")
    lifetime = parse_lifetime(token, TOKEN_LIFETIME_VARIABLE) if token else usual.token_lifetime
    key_lifetime = parse_lifetime(key, KEY_LIFETIME_VARIABLE) if key else usual.key_lifetime
    return JwtSettings(
        token_lifetime=lifetime,
        longest_token=max(lifetime, usual.longest_token),
        key_lifetime=key_lifetime,
        # Who lets keys live for minutes cannot publish them for longer than that.
        publish_ahead=min(usual.publish_ahead, key_lifetime / 10),
        issuer=check_issuer(given.get(ISSUER_VARIABLE, "")),
        listen=_read_listen(given),
    )


def _read_listen(given: Mapping[str, str]) -> OidcListen | None:
    text = given.get(LISTEN_VARIABLE, "")
    if not text:
        return None
    if not given.get(ISSUER_VARIABLE, ""):
        raise InvalidOidcListen(f"{LISTEN_VARIABLE} is set and {ISSUER_VARIABLE} is not: the discovery document must name its own URL")
    try:
        address = urlsplit(f"//{text}")
        host, port = address.hostname or "", address.port
    except ValueError:
        host, port = "", None
    if not port or text != (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"):
        raise InvalidOidcListen(f"{LISTEN_VARIABLE}={text!r} is no address; write for example 0.0.0.0:8080 or [::1]:8080")
    certificate, key = (Path(path) if (path := given.get(name, "")) else None for name in (CERTIFICATE_VARIABLE, TLS_KEY_VARIABLE))
    if (certificate is None) != (key is None):
        raise InvalidOidcListen(f"{CERTIFICATE_VARIABLE} and {TLS_KEY_VARIABLE} belong together: set both or none")
    return OidcListen(host=host, port=port, certificate=certificate, key=key)


def check_issuer(text: str) -> str:
    """`text`, if it is empty or an issuer (OpenID Connect Discovery, 3: https, no query, no fragment); raises InvalidIssuer."""
    if not text:
        return text
    try:
        url = urlsplit(text)
        port_is_one = url.port is None or url.port > 0
    except ValueError as exc:
        raise InvalidIssuer(text, "it is no URL") from exc
    if url.scheme != "https" or not url.hostname or not port_is_one:
        raise InvalidIssuer(text, "it must begin with https:// and name a host")
    if url.query or url.fragment or "?" in text or "#" in text or url.username is not None:
        raise InvalidIssuer(text, "it must have neither user, query nor fragment")
    if text.endswith("/"):
        raise InvalidIssuer(text, "it must not end with '/': validators compare it letter by letter")
    return text
