"""The trust domains this mesh is federated with: kept, refreshed at the pace their publishers ask for, and published to every agent."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

from hauberk.citadel.bundle_fetch import Server, SpiffeServer, bundle_url, fetch_bundle
from hauberk.citadel.federation import (
    Federated,
    FederationRefused,
    Profile,
    Source,
    accept_bundle,
    check_source,
    endpoint_domain,
    poll_interval,
)
from hauberk.citadel.federation_settings import FederationSettings
from hauberk.citadel.ground import Ground
from hauberk.citadel.state import StateUnusable, Write
from hauberk.citadel.state_federation import read_federation, remove_federated, write_federated
from hauberk.identity.bundle_document import InvalidBundle, ParsedBundle, encode_bundle
from hauberk.identity.bundle_file import parse_bundle_file
from hauberk.identity.event import Event, EventKind
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.trust import ForeignBundle, Trust
from hauberk.kit.log import logger
from hauberk.kit.web_fetch import FetchFailed, WebServer
from hauberk.kit.web_url import InvalidUrl

_log = logger("federation")

Fetch = Callable[[str, Server], Awaitable[bytes]]


class Federations:
    """Every change is on disk and published before it is acknowledged. Bundles stand beside each other and beside ours."""

    def __init__(
        self,
        ground: Ground,
        settings: FederationSettings,
        *,
        fetch: Fetch | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = lambda: random.uniform(-1.0, 1.0),  # noqa: S311 - spreads load, protects nothing
    ) -> None:
        self._ground = ground
        self._settings = settings
        self._fetch = fetch or (lambda url, server: fetch_bundle(url, server, settings.allowed))
        self._sleep = sleep
        self._jitter = jitter
        self._rows: Mapping[str, Federated] = {each.trust_domain: each for each in read_federation(ground.state)}
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        ground.publication.preset(lambda trust: replace(trust, federated=_bundles(self._rows), refresh_hint=settings.refresh))

    def list(self) -> tuple[Federated, ...]:
        """All, by name."""
        return tuple(self._rows[name] for name in sorted(self._rows))

    async def federate(self, source: Source, initial: bytes | None, by: str) -> Federated:
        """`source` is federated; `initial` is its bundle as it was handed over. Raises FederationRefused, and then nothing has changed.

        The endpoint is asked at once. Only with an `initial` bundle may it fail to answer: it is asked again at the usual pace.
        """
        trust = self._ground.publication.trust
        check_source(source, (trust.trust_domain, *trust.aliases))
        _check_url(source)
        before = self._rows.get(source.trust_domain)
        taken = self._take_file(source, initial, before.parsed if before is not None else None)
        if source.url:
            known = taken or before
            try:
                taken = await self._take_newest(source, known)
            except (FetchFailed, InvalidBundle) as exc:
                if taken is None:
                    raise FederationRefused(f"{source.url}: {exc}", _FETCH_HINT) from exc
                taken = replace(taken, problem=str(exc))
        if taken is None:
            raise FederationRefused("there is neither a URL nor a file to take the bundle from", "give one with --bundle")
        await self._store(taken)
        await self._tell(EventKind.FEDERATED, taken, "federated", by)
        return taken

    async def remove(self, trust_domain: str, by: str) -> bool:
        """Nobody of the domain is believed any more; False if it was not federated."""
        async with self._changing:
            before = self._rows.get(trust_domain)
            if before is None:
                return False
            rows = {name: row for name, row in self._rows.items() if name != trust_domain}
            await self._publish(rows, remove_federated(trust_domain))
        await self._tell(EventKind.FEDERATION_ENDED, before, "removed", by)
        return True

    async def run(self) -> NoReturn:
        """Every endpoint is asked at the pace its bundle hints at, until cancelled."""
        running: dict[Source, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                wanted = {row.source for row in self._rows.values() if row.source.url}
                for source in running.keys() - wanted:
                    running.pop(source).cancel()
                for source in wanted - running.keys():
                    running[source] = tasks.create_task(self._poll(source), name=f"federation:{source.trust_domain}")
                await self._changed.wait()

    async def _poll(self, source: Source) -> None:
        while (row := self._rows.get(source.trust_domain)) is not None and row.source == source:
            pause = poll_interval(row.bundle.refresh_hint, self._jitter(), self._settings.soonest)
            # What is kept from before a restart may be old: its age counts.
            age = self._ground.clock.now() - row.fetched
            left = pause if row.problem else min(pause, max(pause - age, timedelta(0)))
            await self._sleep(left.total_seconds())
            try:
                await self.refresh(source)
            except StateUnusable as exc:
                # The bundle is asked for again; what it says is not believed before it is on disk.
                _log.error("a bundle cannot be kept", trust_domain=source.trust_domain, reason=str(exc))
            except Exception as exc:  # what one endpoint answers must not end an authority that others depend on
                _log.error("a bundle could not be taken", trust_domain=source.trust_domain, exc_info=exc)
                await self._note(replace(row, problem=f"{type(exc).__name__}: {exc}"))

    async def refresh(self, source: Source) -> None:
        """The endpoint of `source` has been asked; whatever it answered that may not be believed, the last good bundle stays."""
        row = self._rows.get(source.trust_domain)
        if row is None or row.source != source:
            return
        try:
            taken = await self._take_newest(source, row)
        except (FetchFailed, InvalidBundle, FederationRefused) as exc:
            await self._note(replace(row, problem=str(exc)))
            return
        if taken.parsed == row.parsed:
            await self._note(replace(row, fetched=taken.fetched, problem=""))
            return
        if await self._store(taken, instead_of=row):
            await self._tell(EventKind.BUNDLE_FETCHED, taken, "taken", source.url)

    def _take_file(self, source: Source, initial: bytes | None, current: ParsedBundle | None) -> Federated | None:
        if initial is None:
            return None
        try:
            parsed = parse_bundle_file(initial, source.trust_domain)
            # As it will be read again; PEM becomes a document.
            document = encode_bundle(parsed.bundle) if initial.lstrip()[:1] != b"{" else initial
            parsed = accept_bundle(document, source.trust_domain, current)
        except InvalidBundle as exc:
            raise FederationRefused(
                f"the bundle file: {exc}", "get a whole one, from `hauberk ca bundle --spiffe` of the other mesh"
            ) from exc
        return Federated(source=source, document=document, parsed=parsed, fetched=self._ground.clock.now())

    async def _take_newest(self, source: Source, known: Federated | None) -> Federated:
        data = await self._fetch(source.url, self._server(source, known))
        parsed = accept_bundle(data, source.trust_domain, known.parsed if known is not None else None)
        return Federated(source=source, document=data, parsed=parsed, fetched=self._ground.clock.now())

    def _server(self, source: Source, known: Federated | None) -> Server:
        """Who must answer at `source`: with https_spiffe proven by the latest bundle of the endpoint's own trust domain."""
        if source.profile is Profile.WEB:
            return WebServer(ca_file=self._settings.ca_file)
        domain, trust = endpoint_domain(source), self._ground.publication.trust
        bundle = known.bundle if known is not None and domain == source.trust_domain else None
        if domain in (trust.trust_domain, *trust.aliases):
            authorities = trust.x509_authorities
        elif bundle is not None or domain in self._rows:
            authorities = (bundle or self._rows[domain].bundle).x509_authorities
        else:
            reason = f"nothing proves who {source.endpoint_id} is: there is no bundle of {domain} yet"
            hint = "hand over a first one: --bundle URL --bundle FILE, the file from `hauberk ca bundle --spiffe` of the other mesh"
            raise FederationRefused(reason, hint)
        return SpiffeServer(spiffe_id=SpiffeId.parse(source.endpoint_id), authorities=authorities)

    async def _store(self, taken: Federated, *, instead_of: Federated | None = None) -> bool:
        async with self._changing:
            now = self._rows.get(taken.trust_domain)
            # Somebody may have removed or redefined the domain while its endpoint was asked: his word is newer.
            if instead_of is not None and (now is None or (now.source, now.parsed) != (instead_of.source, instead_of.parsed)):
                return False
            await self._publish({**self._rows, taken.trust_domain: taken}, write_federated(taken))
            return True

    async def _publish(self, rows: Mapping[str, Federated], write: Write) -> None:
        def change(trust: Trust) -> Trust:
            return replace(trust, federated=_bundles(rows))

        await self._ground.publication.publish(change, write)
        self._rows = rows
        self._changed.set()

    async def _note(self, row: Federated) -> None:
        """How the last attempt went; the bundle is as it was."""
        before = self._rows.get(row.trust_domain)
        if before is None or before.source != row.source or before.parsed != row.parsed:
            return  # meanwhile it was changed by somebody
        self._rows = {**self._rows, row.trust_domain: row}
        if row.problem and row.problem != before.problem:
            _log.warning("no newer bundle; the last good one stays", trust_domain=row.trust_domain, reason=row.problem)
            await self._tell(EventKind.BUNDLE_REFUSED, row, row.problem, row.source.url)

    async def _tell(self, kind: EventKind, row: Federated, outcome: str, by: str) -> None:
        bundle, source = row.bundle, row.source
        evidence: dict[str, str | int | bool | tuple[str, ...]] = {
            "sequence": bundle.sequence,
            "authorities": len(bundle.x509_authorities),
            "jwtKeys": len(bundle.jwt_keys),
            "ignored": row.parsed.ignored,
            "url": source.url,
            "profile": source.profile.value if source.url else "file",
            "endpointId": source.endpoint_id,
        }
        now = self._ground.clock.now()
        await self._ground.audit(Event(time=now, kind=kind, subject=row.trust_domain, outcome=outcome, by=by, evidence=evidence))


_FETCH_HINT = "check URL, profile and network; or hand the bundle over as a file: --bundle URL --bundle FILE"


def _check_url(source: Source) -> None:
    try:
        if source.url:
            bundle_url(source.url)
    except InvalidUrl as exc:
        raise FederationRefused(str(exc), "give an https URL, or a file") from exc


def _bundles(rows: Mapping[str, Federated]) -> tuple[ForeignBundle, ...]:
    return tuple(rows[name].bundle for name in sorted(rows))
