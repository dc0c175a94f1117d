"""Settings of tokens."""

from datetime import timedelta
from pathlib import Path

import pytest

from hauberk.citadel.jwt_settings import InvalidIssuer, InvalidOidcListen, OidcListen, read_jwt_settings
from hauberk.citadel.settings import InvalidLifetime

ISSUER = {"HAUBERK_JWT_ISSUER": "https://oidc.example.org/mesh"}


def test_nothing_set_is_tokens_of_minutes_without_issuer() -> None:
    settings = read_jwt_settings({})
    assert (settings.token_lifetime, settings.issuer, settings.listen) == (timedelta(minutes=5), "", None)


def test_what_is_set_is_taken() -> None:
    settings = read_jwt_settings({**ISSUER, "HAUBERK_JWT_LIFETIME": "2h", "HAUBERK_JWT_KEY_LIFETIME": "10m"})
    assert (settings.issuer, settings.token_lifetime, settings.longest_token) == (ISSUER["HAUBERK_JWT_ISSUER"], *[timedelta(hours=2)] * 2)
    assert settings.publish_ahead == timedelta(minutes=1)


@pytest.mark.parametrize(
    "text",
    ["http://a.org", "https://", "a.org", "https://a.org/", "https://a.org?x", "https://a.org#x", "https://u@a.org", "https://a.org:99999"],
)
def test_what_no_validator_would_find_is_no_issuer(text: str) -> None:
    with pytest.raises(InvalidIssuer, match="HAUBERK_JWT_ISSUER"):
        read_jwt_settings({"HAUBERK_JWT_ISSUER": text})


def test_a_life_must_be_one() -> None:
    with pytest.raises(InvalidLifetime):
        read_jwt_settings({"HAUBERK_JWT_LIFETIME": "0s"})


def test_the_outside_is_served_where_it_is_set() -> None:
    files = {"HAUBERK_OIDC_CERTIFICATE": "/a.pem", "HAUBERK_OIDC_KEY": "/a.key"}
    assert read_jwt_settings({**ISSUER, "HAUBERK_OIDC_LISTEN": "0.0.0.0:8080"}).listen == OidcListen(host="0.0.0.0", port=8080)
    listen = read_jwt_settings({**ISSUER, **files, "HAUBERK_OIDC_LISTEN": "[::1]:8443"}).listen
    assert listen == OidcListen(host="::1", port=8443, certificate=Path("/a.pem"), key=Path("/a.key"))


@pytest.mark.parametrize(
    "given",
    [
        {"HAUBERK_OIDC_LISTEN": "0.0.0.0:8080"},
        {**ISSUER, "HAUBERK_OIDC_LISTEN": "8080"},
        {**ISSUER, "HAUBERK_OIDC_LISTEN": "host"},
        {**ISSUER, "HAUBERK_OIDC_LISTEN": "host:0"},
        {**ISSUER, "HAUBERK_OIDC_LISTEN": "host:8080/x"},
        {**ISSUER, "HAUBERK_OIDC_LISTEN": "host:8080", "HAUBERK_OIDC_KEY": "/a.key"},
    ],
)
def test_half_a_setting_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidOidcListen, match="HAUBERK_OIDC"):
        read_jwt_settings(given)
