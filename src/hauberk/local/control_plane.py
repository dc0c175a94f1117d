"""The control plane of a mesh on one machine: store, authority, pilot, controllers and API in one process and one event loop."""

import argparse
import asyncio
import functools
import os
import platform
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from hauberk import __version__
from hauberk.apiserver import server
from hauberk.apiserver.rules import Rules
from hauberk.apiserver.state import Parts
from hauberk.citadel.federation_settings import InvalidFederationSetting
from hauberk.citadel.jwt_settings import InvalidIssuer, InvalidOidcListen
from hauberk.citadel.key_settings import InvalidKeySetting
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.renaming import Renaming
from hauberk.citadel.settings import CitadelSettings, InvalidLifetime, read_settings
from hauberk.citadel.state import StateUnusable
from hauberk.kit.clock import Clock, SystemClock
from hauberk.kit.log import configure_logging, logger
from hauberk.kit.places import Places, PlaceUnusable
from hauberk.linux import control
from hauberk.local.ca_import import ServedImport
from hauberk.local.ca_people import ServedAuthority
from hauberk.local.citadel import ServedCitadel
from hauberk.local.federation import ServedFederation, follow_foreign_domains, tell_foreign_domains
from hauberk.local.first_objects import DEFAULT_TRUST_DOMAIN, declared_trust_domains, put_first_objects
from hauberk.local.issuers import ServedIssuers
from hauberk.local.names import NamesTable
from hauberk.local.naming import Naming
from hauberk.local.pilot import ServedPilot, SidecarTranslator
from hauberk.local.remote_listen import Listen, ListenInvalid
from hauberk.local.remote_machines import ServedMachines
from hauberk.local.revoker import StoreRevoker
from hauberk.local.tokens import ServedTokens
from hauberk.mesh.settings import MeshSettings
from hauberk.pilot.pilot import Pilot
from hauberk.sources.jwks import KeyRing
from hauberk.sources.jwks_cache import JwksCache
from hauberk.sources.jwks_settings import InvalidJwksSetting, JwksSettings, read_jwks_settings
from hauberk.sources.problems import StoreError
from hauberk.sources.store import Store
from hauberk.workloads.controller import Workloads

TRUST_DOMAIN_VARIABLE = "HAUBERK_TRUST_DOMAIN"  # believed once: when the mesh is first started
MESH_VARIABLE = "HAUBERK_MESH"

_CANNOT_START = (
    StoreError,
    KeyUnreadable,
    StateUnusable,
    InvalidFederationSetting,
    InvalidIssuer,
    InvalidJwksSetting,
    InvalidKeySetting,
    InvalidLifetime,
    InvalidOidcListen,
    ListenInvalid,
    PlaceUnusable,
    OSError,
)
_log = logger("control-plane")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneSettings:
    """What an operator may set, and what tests do."""

    node: str
    citadel: CitadelSettings
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    listen: Listen | None = None  # for other machines
    jwks: JwksSettings = field(default_factory=JwksSettings)


def read_control_plane_settings() -> ControlPlaneSettings:
    """The settings of the environment."""
    trust_domain = os.environ.get(TRUST_DOMAIN_VARIABLE) or DEFAULT_TRUST_DOMAIN
    # The same name that the agent gives itself: what it says of its pods is compared with it.
    return ControlPlaneSettings(
        node=platform.node(),
        citadel=read_settings(),
        trust_domain=trust_domain,
        listen=Listen.read(),
        jwks=read_jwks_settings(os.environ),
    )


async def run(places: Places, *, settings: ControlPlaneSettings | None = None, clock: Clock | None = None) -> None:
    """Serves until cancelled; then everything that was acknowledged is on disk and the store is released."""
    settings, clock = settings or read_control_plane_settings(), clock or SystemClock()
    store = Store(places.objects)
    try:
        await _prepare(store, settings)
        citadel = await _open_citadel(store, places, settings, clock)
        try:
            await _serve(store, citadel, places, settings, clock)
        finally:
            await asyncio.to_thread(citadel.close)
    finally:
        await store.close()


async def _prepare(store: Store, settings: ControlPlaneSettings) -> None:
    fresh = store.revision == 0
    await store.transact(lambda draft: put_first_objects(draft, fresh=fresh, trust_domain=settings.trust_domain))


async def _open_citadel(store: Store, places: Places, settings: ControlPlaneSettings, clock: Clock) -> ServedCitadel:
    trust_domains = store.rehearse(declared_trust_domains)
    opened = functools.partial(ServedCitadel.open, trust_domains=trust_domains, node=settings.node, settings=settings.citadel, clock=clock)
    return await asyncio.to_thread(opened, store, places)


async def _serve(store: Store, served: ServedCitadel, places: Places, settings: ControlPlaneSettings, clock: Clock) -> None:
    pilot = Pilot(store, SidecarTranslator(), settings=MeshSettings(certificate_life=settings.citadel.certificate_lifetime), clock=clock)
    machines = ServedMachines(store, served, settings.listen)
    federation = ServedFederation(served.citadel, settings.citadel.federation)
    # Before the first push: a control plane that comes back must not tell proxies for a moment that nobody is federated.
    tell_foreign_domains(served.citadel.trust, pilot)
    # The same with the keys of issuers: what was kept of them counts from the first push on.
    keys = KeyRing(store, JwksCache(places.issuer_keys), settings.jwks, pilot.believe, clock=clock)
    renaming = Renaming(served.citadel)
    naming = Naming(
        store,
        renaming,
        nodes=served.nodes,
        federations=federation.federations,
        revocations=served.revocations,
        pilot=pilot,
    )
    tokens = ServedTokens(served.tokens)
    parts = Parts(
        store=store,
        rules=Rules(node=settings.node, trust_domain=served.citadel.trust_domain, joined=served.nodes.joined, naming=naming.fault),
        version=__version__,
        pilot=ServedPilot(pilot, keys, lambda: served.ground.names),
        issuers=ServedIssuers(keys),
        names=NamesTable(store),
        ca=ServedAuthority(store, served.citadel),
        revoker=StoreRevoker(
            store,
            served.revocations,
            missing=served.unconfirmed,
            names=lambda: renaming.names,
            reported=served.citadel.roster.changed,
        ),
        machines=machines,
        importer=ServedImport(served.citadel, served.plugged),
        federator=federation,
        tokens=tokens,
        clock=clock,
    )
    places.xds_socket.unlink(missing_ok=True)  # a killed predecessor's
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(served.run(places), name="citadel")
        tasks.create_task(federation.run(), name="federation")
        tasks.create_task(naming.run(), name="trust domain")
        tasks.create_task(tokens.run(), name="openid")
        tasks.create_task(follow_foreign_domains(served.citadel, pilot), name="foreign trust domains")
        tasks.create_task(keys.run(), name="keys of issuers")
        tasks.create_task(pilot.run(f"unix:{places.xds_socket}"), name="pilot")
        tasks.create_task(Workloads(store, node=settings.node, others=served.nodes.joined).run(), name="workloads")
        tasks.create_task(server.serve(parts, places.api_socket), name="apiserver")
        tasks.create_task(machines.run(parts, pilot, places.run / "nodes"), name="machines")
        _log.info("serving", node=settings.node, objects=len(store.list().items), revision=store.revision)


async def _run_until_told(places: Places) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await run(places)
    except asyncio.CancelledError:
        _log.info("ended")


def main(argv: Sequence[str] | None = None) -> int:
    """`hauberk control-plane`: serves until SIGTERM or SIGINT; 0 if it ended in order, 1 if it cannot start."""
    parser = argparse.ArgumentParser(prog="hauberk control-plane", description="The control plane by itself.")
    parser.add_argument("--mesh", default=os.environ.get(MESH_VARIABLE, "default"), help="which mesh on this machine")
    arguments = parser.parse_args(argv)
    configure_logging("control-plane")
    os.umask(0o077)  # keys, objects and sockets are nobody else's business
    control.forbid_inspection()  # its memory holds private keys: no core file, no debugger of another program of the same user
    try:
        places = Places(arguments.mesh)
        places.create()
        asyncio.run(_run_until_told(places))
    except _CANNOT_START as error:
        hint = getattr(error, "hint", "")
        print(f"error: the control plane cannot start: {error}" + (f"\n   do: {hint}" if hint else ""), file=sys.stderr)  # noqa: T201 - for a person
        return 1
    return 0
