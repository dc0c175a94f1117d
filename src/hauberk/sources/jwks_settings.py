"""What an operator may set about the keys of tokens' issuers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from hauberk.kit.networks import InvalidNetwork, Reach, read_networks

ALLOWED_VARIABLE: Final = "HAUBERK_JWKS_ALLOWED_CIDRS"
BLOCKED_VARIABLE: Final = "HAUBERK_JWKS_BLOCKED_CIDRS"
CA_FILE_VARIABLE: Final = "HAUBERK_JWKS_CA_FILE"
REFRESH_VARIABLE: Final = "HAUBERK_JWKS_REFRESH_SECONDS"
KEEP_VARIABLE: Final = "HAUBERK_JWKS_KEEP_SECONDS"

REFRESH: Final = timedelta(minutes=20)
KEEP: Final = timedelta(hours=24)
_NO_EXCEPTIONS: Final = Reach()


class InvalidJwksSetting(ValueError):
    """A setting cannot be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwksSettings:
    """`reach`: which addresses keys are fetched from. `ca_file`: authorities that are believed beside the machine's.

    `refresh`: how often keys are fetched anew. `keep`: how long the last good ones count while newer ones cannot be had.
    """

    reach: Reach = _NO_EXCEPTIONS
    ca_file: Path | None = None
    refresh: timedelta = REFRESH
    keep: timedelta = KEEP


def read_jwks_settings(environment: Mapping[str, str]) -> JwksSettings:
    """The settings of `environment`; raises InvalidJwksSetting."""
    try:
        allowed, blocked = (read_networks(environment.get(name, ""), name) for name in (ALLOWED_VARIABLE, BLOCKED_VARIABLE))
    except InvalidNetwork as exc:
        raise InvalidJwksSetting(str(exc)) from exc
    ca_file = environment.get(CA_FILE_VARIABLE, "")
    if ca_file and not Path(ca_file).is_absolute():
        raise InvalidJwksSetting(f"{CA_FILE_VARIABLE}={ca_file!r} is no absolute path")
    return JwksSettings(
        reach=Reach(allowed, blocked),
        ca_file=Path(ca_file) if ca_file else None,
        refresh=_seconds(environment, REFRESH_VARIABLE, REFRESH),
        keep=_seconds(environment, KEEP_VARIABLE, KEEP),
    )


def _seconds(environment: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    text = environment.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[1-9][0-9]{0,7}", text):
        raise InvalidJwksSetting(f"{name}={text!r} is no number of seconds from 1 to 99999999")
    return timedelta(seconds=int(text))
