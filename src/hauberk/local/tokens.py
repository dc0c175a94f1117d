"""Tokens as this control plane serves them to the outside: what validators need that know OpenID Connect."""

from collections.abc import Mapping
from typing import Any

from hauberk.citadel.bundle_endpoint import BundleEndpoint
from hauberk.citadel.endpoint_identity import FileIdentity
from hauberk.citadel.federation import Profile
from hauberk.citadel.federation_settings import Listen
from hauberk.citadel.jwt_authority import JwtAuthority
from hauberk.identity.openid import KEYS_PATH, algorithms_of, build_discovery, build_documents, build_keys
from hauberk.identity.trust import Trust


class ServedTokens:
    """`TokenKeys` of the API, and the listener for the outside."""

    def __init__(self, authority: JwtAuthority) -> None:
        self._authority = authority
        self._settings = authority.settings

    async def run(self) -> None:
        """Serves whom the settings name, until cancelled; nobody if they name none."""
        listen = self._settings.listen
        if listen is None:
            return
        identity = FileIdentity(listen.certificate, listen.key) if listen.certificate and listen.key else None
        address = Listen(host=listen.host, port=listen.port, profile=Profile.WEB)
        await BundleEndpoint(address, identity, lambda: self._authority.trust, self._documents).run()

    def discovery(self) -> Mapping[str, Any] | None:
        """The discovery document; None: no issuer is set, so there is none."""
        issuer = self._settings.issuer
        return build_discovery(issuer, issuer + KEYS_PATH, algorithms_of(self._authority.trust.jwt_keys)) if issuer else None

    def keys(self) -> Mapping[str, Any]:
        """The keys that tokens are checked with, as OpenID Connect's validators read them."""
        return build_keys(self._authority.trust.jwt_keys)

    async def rotate(self, by: str) -> Mapping[str, Any]:
        """The next key is published, and signs once every agent has it and those outside have had the time to fetch it."""
        key = await self._authority.rotate(by)
        return {"key": key, "publishedForSeconds": int(self._settings.publish_ahead.total_seconds())}

    def _documents(self, trust: Trust) -> Mapping[bytes, bytes]:
        return build_documents(self._settings.issuer, trust.jwt_keys)
