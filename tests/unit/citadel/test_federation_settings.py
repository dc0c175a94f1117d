from datetime import timedelta
from pathlib import Path

import pytest

from hauberk.citadel.federation import Profile
from hauberk.citadel.federation_settings import FederationSettings, InvalidFederationSetting, Listen, read_federation_settings

FILES = {"HAUBERK_BUNDLE_CERTIFICATE": "/c.pem", "HAUBERK_BUNDLE_KEY": "/k.pem"}


def test_without_settings_nothing_is_served() -> None:
    assert read_federation_settings({}) == FederationSettings()


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        ("0.0.0.0:8443", {}, [Listen(host="0.0.0.0", port=8443, profile=Profile.SPIFFE)]),
        (":8443", FILES, [Listen(host="", port=8443, profile=Profile.WEB)]),
        (
            "https_spiffe=[::1]:1, https_web=b.example:65535",
            FILES,
            [Listen(host="::1", port=1, profile=Profile.SPIFFE), Listen(host="b.example", port=65535, profile=Profile.WEB)],
        ),
    ],
)
def test_an_address_is_served_with_the_profile_that_it_names_or_that_there_is_a_certificate_for(
    text: str, files: dict[str, str], expected: list[Listen]
) -> None:
    found = read_federation_settings({"HAUBERK_BUNDLE_LISTEN": text, **files})
    assert list(found.listen) == expected
    assert found.certificate == (Path("/c.pem") if files else None)


@pytest.mark.parametrize(
    "environment",
    [
        *({"HAUBERK_BUNDLE_LISTEN": text} for text in ("8443", "a:0", "a:70000", "http=a:1", "[x]:1", "::1:80", "https_web=a:1")),
        *({"HAUBERK_BUNDLE_REFRESH_SECONDS": text} for text in ("0", "-1", "5m", "1.5", "9999999")),
        {"HAUBERK_BUNDLE_KEY": "/k.pem"},
        {**FILES, "HAUBERK_BUNDLE_KEY": "k.pem"},
    ],
)
def test_settings_that_make_no_sense_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidFederationSetting, match="HAUBERK_BUNDLE_"):
        read_federation_settings(environment)


def test_how_often_others_ask_is_a_number_of_seconds() -> None:
    assert read_federation_settings({}).refresh == timedelta(minutes=5)
    assert read_federation_settings({"HAUBERK_BUNDLE_REFRESH_SECONDS": "7"}).refresh == timedelta(seconds=7)


def test_how_often_others_are_asked_is_bounded_by_a_number_of_seconds() -> None:
    assert read_federation_settings({}).soonest == timedelta(seconds=30)
    assert read_federation_settings({"HAUBERK_FEDERATION_SOONEST_SECONDS": "7"}).soonest == timedelta(seconds=7)
    with pytest.raises(InvalidFederationSetting, match="HAUBERK_FEDERATION_SOONEST_SECONDS"):
        read_federation_settings({"HAUBERK_FEDERATION_SOONEST_SECONDS": "0"})


def test_networks_are_those_of_the_setting() -> None:
    assert [str(each) for each in read_federation_settings({"HAUBERK_FEDERATION_ALLOW": "127.0.0.0/8"}).allowed] == ["127.0.0.0/8"]
    with pytest.raises(InvalidFederationSetting, match="HAUBERK_FEDERATION_ALLOW"):
        read_federation_settings({"HAUBERK_FEDERATION_ALLOW": "home"})
