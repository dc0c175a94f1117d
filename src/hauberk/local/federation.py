"""Federation as this control plane serves it: the API's requests, our own bundle, and what the proxies are told of foreign domains."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from hauberk.citadel.authority import Citadel
from hauberk.citadel.bundle_endpoint import BundleEndpoint, own_bundle
from hauberk.citadel.endpoint_identity import FileIdentity, Identity, SvidIdentity, endpoint_id
from hauberk.citadel.federation import Federated, FederationRefused, Profile, Source
from hauberk.citadel.federation_settings import FederationSettings, Listen
from hauberk.citadel.federations import Federations
from hauberk.identity.bundle_document import encode_bundle
from hauberk.identity.trust import Trust
from hauberk.identity.trust_bundle import to_pem
from hauberk.pilot.pilot import Pilot


class ServedFederation:
    """`Federator` of the API, and all that runs for it."""

    def __init__(self, citadel: Citadel, settings: FederationSettings) -> None:
        self.federations = Federations(citadel.ground, settings)
        self._citadel = citadel
        self._settings = settings

    async def run(self) -> None:
        """Fetches others' bundles and serves ours, until cancelled."""
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            tasks.create_task(self.federations.run(), name="federation")
            for listen in self._settings.listen:
                endpoint = BundleEndpoint(listen, self._identity(listen), lambda: self._citadel.trust)
                tasks.create_task(endpoint.run(), name=f"bundle-endpoint:{listen.port}")

    def _identity(self, listen: Listen) -> Identity:
        certificate, key = self._settings.certificate, self._settings.key
        if listen.profile is Profile.WEB and certificate is not None and key is not None:
            return FileIdentity(certificate, key)
        issuer = self._citadel.issuer
        return SvidIdentity(self._citadel.ground, lambda attested, public_key: issuer.issue_to(attested, public_key, by="citadel"))

    # --- for the API

    def bundle(self, form: str) -> str:
        """Our own bundle: `spiffe` (with JWT keys, sequence and refresh hint) or `pem` (roots only)."""
        trust = self._citadel.trust
        if form == "pem":
            return "".join(to_pem(each) for each in trust.x509_authorities)
        return encode_bundle(own_bundle(trust)).decode()

    def federation(self) -> Mapping[str, Any]:
        """Every federated domain, and how others are to fetch ours."""
        trust = self._citadel.trust
        served = [
            {
                "profile": each.profile.value,
                "port": each.port,
                **({"endpointId": str(endpoint_id(trust.trust_domain))} if each.profile is Profile.SPIFFE else {}),
            }
            for each in self._settings.listen
        ]
        own = {"trustDomain": trust.trust_domain, "aliases": list(trust.aliases), "sequence": trust.sequence, "endpoints": served}
        return {"own": own, "items": [document_of(each) for each in self.federations.list()]}

    async def federate(
        self, *, trust_domain: str, url: str, profile: str, endpoint_id: str, bundle: str | None, by: str
    ) -> Mapping[str, Any]:
        """The domain is federated; raises ValueError with a `hint`."""
        try:
            chosen = Profile(profile) if profile else Profile.SPIFFE if endpoint_id else Profile.WEB
        except ValueError as exc:
            raise FederationRefused(f"{profile!r} is no profile", f"use {Profile.WEB} or {Profile.SPIFFE}") from exc
        source = Source(trust_domain=trust_domain, url=url, profile=chosen, endpoint_id=endpoint_id)
        initial = None if bundle is None else bundle.encode()
        return document_of(await self.federations.federate(source, initial, by))

    async def remove(self, trust_domain: str, by: str) -> bool:
        """The domain is not federated any more; False: it was not."""
        return await self.federations.remove(trust_domain, by)


def document_of(row: Federated) -> dict[str, Any]:
    """A federated domain as the API says it."""
    bundle, source = row.bundle, row.source
    document: dict[str, Any] = {
        "trustDomain": row.trust_domain,
        "profile": source.profile.value if source.url else "file",
        "url": source.url,
        "endpointId": source.endpoint_id,
        "sequence": bundle.sequence if row.parsed.has_sequence else None,
        "refreshHintSeconds": int(bundle.refresh_hint.total_seconds()),
        "x509Authorities": [_authority(each) for each in bundle.x509_authorities],
        "jwtKeys": [each.key_id for each in bundle.jwt_keys],
        "ignored": list(row.parsed.ignored),
        "fetchedAt": row.fetched.isoformat(timespec="seconds"),
        "problem": row.problem,
    }
    return {name: value for name, value in document.items() if value not in ("", None)}


def _authority(certificate: Any) -> dict[str, Any]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "notAfter": certificate.not_valid_after_utc.isoformat(timespec="seconds"),
    }


def tell_foreign_domains(trust: Trust, pilot: Pilot) -> None:
    """Every proxy lets members of the federated domains as far as the policies."""
    pilot.federate(tuple(each.trust_domain for each in trust.federated))


async def follow_foreign_domains(citadel: Citadel, pilot: Pilot) -> None:
    """Every proxy is told of the federated domains as they come and go, until cancelled."""
    async for trust in citadel.changes():
        tell_foreign_domains(trust, pilot)
