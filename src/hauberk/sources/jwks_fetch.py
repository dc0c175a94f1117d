"""Fetches the keys of an issuer of tokens: from the place that a rule names, or that the issuer names itself (OpenID Connect Discovery).

Who may write a RequestAuthentication chooses an address that the control plane asks. So it asks no address of its own machine and none
that is special, follows no redirect, takes no more than a megabyte and waits no longer than the rule says.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final

from hauberk.kit.web_fetch import FetchFailed, FetchLimits, WebServer, fetch
from hauberk.kit.web_url import InvalidUrl, WebUrl, parse_url
from hauberk.mesh.issuer_keys import KeySource
from hauberk.mesh.jwks import LARGEST, InvalidJwks, UsableKeys, usable_keys
from hauberk.sources.jwks_settings import JwksSettings

_WELL_KNOWN: Final = ".well-known/openid-configuration"
_KEYS: Final = "the address of keys"


async def fetch_keys(source: KeySource, seconds: float, settings: JwksSettings) -> UsableKeys:
    """The keys at `source`, all within `seconds`; raises FetchFailed."""
    try:
        async with asyncio.timeout(seconds):
            url = parse_url(source.uri, _KEYS, plain=True) if source.uri else await _discover(source.issuer, settings)
            return usable_keys(await _get(url, settings, _KEYS))
    except TimeoutError as exc:
        raise FetchFailed(f"no whole answer within {seconds:g} s") from exc
    except (InvalidUrl, InvalidJwks) as exc:
        raise FetchFailed(str(exc)) from exc


async def _discover(issuer: str, settings: JwksSettings) -> WebUrl:
    """Where `issuer` says that its keys are."""
    url = parse_url(f"{issuer.rstrip('/')}/{_WELL_KNOWN}", "an issuer that is asked where its keys are", plain=True)
    try:
        document = json.loads(await _get(url, settings, "an issuer"))
    except (ValueError, RecursionError) as exc:
        raise FetchFailed(f"{url} is no JSON") from exc
    named = document.get("issuer") if isinstance(document, dict) else None
    if named != issuer:
        # Discovery, 4.3: else anybody's document could speak for the issuer.
        raise FetchFailed(f"{url} is of the issuer {str(named)[:200]!r}, not of {issuer!r}; name jwksUri")
    uri = document.get("jwks_uri")
    if not isinstance(uri, str):
        raise FetchFailed(f"{url} does not say where the keys are")
    # What was told under protection is not fetched without.
    return parse_url(uri, "the jwks_uri of an issuer", plain=url.scheme == "http")


async def _get(url: WebUrl, settings: JwksSettings, what: str) -> bytes:
    server = WebServer(ca_file=settings.ca_file, besides=True)
    return await fetch(url, server, FetchLimits(size=LARGEST, reach=settings.reach.includes), what)
