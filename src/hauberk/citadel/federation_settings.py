"""What an operator may set about federation: where our bundle is served, and from where others' are fetched."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from hauberk.citadel.federation import SOONEST, Profile
from hauberk.identity.trust import REFRESH_HINT
from hauberk.kit.networks import InvalidNetwork, Network, read_networks

LISTEN_VARIABLE: Final = "HAUBERK_BUNDLE_LISTEN"
REFRESH_VARIABLE: Final = "HAUBERK_BUNDLE_REFRESH_SECONDS"
CERTIFICATE_VARIABLE: Final = "HAUBERK_BUNDLE_CERTIFICATE"
KEY_VARIABLE: Final = "HAUBERK_BUNDLE_KEY"
ALLOW_VARIABLE: Final = "HAUBERK_FEDERATION_ALLOW"
CA_FILE_VARIABLE: Final = "HAUBERK_FEDERATION_CA_FILE"
SOONEST_VARIABLE: Final = "HAUBERK_FEDERATION_SOONEST_SECONDS"

_LISTEN = re.compile(r"(?:(?P<profile>https_web|https_spiffe)=)?(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^\[\]:=,\s]*)):(?P<port>\d{1,5})")


class InvalidFederationSetting(ValueError):
    """A setting cannot be understood, or the settings contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """An address on which the bundle is served, and how the server proves itself there. `host` empty: every address."""

    host: str
    port: int
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSettings:
    """`allowed`: networks that bundles may be fetched from although they are local or special. `ca_file`: whom to believe with https_web.

    `certificate` and `key`: what the endpoint shows with https_web; both are read again when they change. `refresh`: how often others are
    asked to fetch our bundle. `soonest`: how often others are asked for theirs at most, whatever they hint at.
    """

    listen: tuple[Listen, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    allowed: tuple[Network, ...] = ()
    ca_file: Path | None = None
    refresh: timedelta = REFRESH_HINT
    soonest: timedelta = SOONEST


def read_federation_settings(environment: Mapping[str, str]) -> FederationSettings:
    """The settings of `environment`; raises InvalidFederationSetting."""
    certificate, key, ca_file = (_path(environment, name) for name in (CERTIFICATE_VARIABLE, KEY_VARIABLE, CA_FILE_VARIABLE))
    if (certificate is None) != (key is None):
        raise InvalidFederationSetting(f"{CERTIFICATE_VARIABLE} and {KEY_VARIABLE} belong together: set both or none")
    default = Profile.SPIFFE if certificate is None else Profile.WEB
    listen = tuple(_listen(each.strip(), default) for each in environment.get(LISTEN_VARIABLE, "").split(",") if each.strip())
    if certificate is None and any(each.profile is Profile.WEB for each in listen):
        raise InvalidFederationSetting(f"{LISTEN_VARIABLE} asks for https_web: set {CERTIFICATE_VARIABLE} and {KEY_VARIABLE}")
    try:
        allowed = read_networks(environment.get(ALLOW_VARIABLE, ""), ALLOW_VARIABLE)
    except InvalidNetwork as exc:
        raise InvalidFederationSetting(str(exc)) from exc
    return FederationSettings(
        listen=listen,
        certificate=certificate,
        key=key,
        allowed=allowed,
        ca_file=ca_file,
        refresh=_seconds(environment, REFRESH_VARIABLE, REFRESH_HINT),
        soonest=_seconds(environment, SOONEST_VARIABLE, SOONEST),
    )


def _seconds(environment: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    text = environment.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise InvalidFederationSetting(f"{name}={text!r} is no number of seconds from 1 to 999999")
    return timedelta(seconds=int(text))


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "")
    if text and not Path(text).is_absolute():
        raise InvalidFederationSetting(f"{name}={text!r} is no absolute path")
    return Path(text) if text else None


def _listen(text: str, default: Profile) -> Listen:
    found = _LISTEN.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise InvalidFederationSetting(f"{LISTEN_VARIABLE}: {text!r} is no address; write for example 0.0.0.0:8443 or https_web=[::]:8443")
    return Listen(host=found["six"] or found["host"] or "", port=int(found["port"]), profile=Profile(found["profile"] or default))
