"""What an operator may set about the authority: how long its certificates live, and where its keys lie."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hauberk.citadel.federation_settings import FederationSettings, read_federation_settings
from hauberk.citadel.key_settings import KeySettings, read_key_settings

LIFETIME_VARIABLE = "HAUBERK_CERTIFICATE_LIFETIME"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class InvalidLifetime(ValueError):
    """A setting is not a length of time that a certificate can live."""

    def __init__(self, source: str, text: str) -> None:
        super().__init__(f"{source}={text!r} is not a length of time of at least one second; write for example 24h, 90m or 1h30m")


@dataclass(frozen=True, slots=True, kw_only=True)
class CitadelSettings:
    """Lives of certificates; no certificate outlives the one that signed it."""

    # Short enough that a stolen key is soon worthless, long enough that a control plane may be down for half a day.
    certificate_lifetime: timedelta = timedelta(hours=24)
    # Renewed by the root at half of this, long before leaves would have to be cut short.
    issuing_lifetime: timedelta = timedelta(days=365)
    # Every proxy must hear of a new root before it is used, so it changes rarely.
    root_lifetime: timedelta = timedelta(days=3650)
    # What somebody may ask for beyond the usual: longer than this, a certificate is a key that nobody changes.
    maximum_lifetime: timedelta = timedelta(days=7)
    # Certificates for one machine: all pods of a large one at once after an outage, and then no more than it can need.
    issue_rate: float = 200.0
    issue_burst: int = 2000
    keys: KeySettings = field(default_factory=KeySettings)
    federation: FederationSettings = field(default_factory=FederationSettings)


def read_settings(environment: Mapping[str, str] | None = None) -> CitadelSettings:
    """The settings with what the environment overrides; raises InvalidLifetime, InvalidKeySetting or InvalidFederationSetting."""
    given = os.environ if environment is None else environment
    settings = CitadelSettings(keys=read_key_settings(given), federation=read_federation_settings(given))
    text = given.get(LIFETIME_VARIABLE, "")
    return replace(settings, certificate_lifetime=parse_lifetime(text, LIFETIME_VARIABLE)) if text else settings


def parse_lifetime(text: str, source: str) -> timedelta:
    """`text` such as `24h` or `1h30m` as a length of time; `source` names the setting in the error."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidLifetime(source, text)
    try:
        lifetime = timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError as exc:
        raise InvalidLifetime(source, text) from exc
    # Certificates know whole seconds: anything shorter could be over when it is signed.
    if lifetime < timedelta(seconds=1):
        raise InvalidLifetime(source, text)
    return lifetime
