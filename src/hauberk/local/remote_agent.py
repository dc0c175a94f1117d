"""The agent's end on a machine that has joined: local sockets that lead to the control plane, and a certificate that stays fresh.

Everything else of the agent talks to the sockets of its own run directory, as if the control plane were here.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from hauberk.agent.citadel_client import CitadelClient, NotIssued, local_channel
from hauberk.agent.trust_report import Held
from hauberk.citadel.nodes import agent_id
from hauberk.identity.trust import Trust
from hauberk.identity.wire import AgentSubject, Holder
from hauberk.kit.backoff import Backoff
from hauberk.kit.clock import Clock
from hauberk.kit.log import logger
from hauberk.kit.places import Places
from hauberk.kit.tls_forwarder import Switch, TlsForwarder
from hauberk.kit.watched import Watched
from hauberk.local.failure import LocalFailure
from hauberk.local.joining_membership import Membership, expired, read_membership, write_membership
from hauberk.local.remote_certificate import NotObtained, Own, OwnCertificate, Signed
from hauberk.local.remote_doors import API, CITADEL, XDS
from hauberk.local.remote_way import Way

LOOK_SECONDS: Final = 5.0  # between two looks whether all is well
LEAST_SECONDS: Final = 0.2
AGAIN: Final = Backoff(first=0.1, limit=2.0)  # while it is not

_log = logger("remote")


@asynccontextmanager
async def reaching(places: Places, clock: Clock) -> AsyncIterator["RemoteControlPlane | None"]:
    """The control plane of another machine is reached meanwhile, if this one has joined; None where the control plane is here.

    Raises MembershipUnusable. One whose certificate has expired is reached no more, but pods that run are looked after all the same.
    """
    membership = read_membership(places.membership)
    if membership is None:
        yield None
        return
    elsewhere = RemoteControlPlane(places, membership, clock)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(elsewhere.run(), name="remote")
        yield elsewhere
        running.cancel()


class RemoteControlPlane:
    """The control plane of another machine, as it is reached from here. `run` must run before anything else of the agent is started."""

    def __init__(self, places: Places, membership: Membership, clock: Clock) -> None:
        self._places = places
        self._path = places.membership
        self._membership = membership
        self._clock = clock
        self._way = Way(
            membership.trust_domain,
            lambda: self._membership.addresses,
            lambda: self._membership.own.credentials,
            lambda: self._membership.roots,
            places.run,
            is_revoked=lambda serial: self._trust is not None and serial in self._trust.revoked.serials,
        )
        self._own = OwnCertificate(
            lambda: agent_id(membership.trust_domain, membership.node), self._ask, clock, held=membership.own, keep=self._keep
        )
        self._switch = Switch(on=False)
        self._stumbled = asyncio.Event()
        self._refusal = "the control plane has not been asked yet"
        self._trust: Trust | None = None
        self._kept = _stamp(self._path)

    @property
    def node(self) -> str:
        """What this machine is called in the mesh."""
        return self._membership.node

    @property
    def problem(self) -> str:
        """Why the control plane is not reached, or what is wrong with our certificate; empty when all is well."""
        if (reason := expired(self._membership, self._clock.now())) is not None:
            return reason
        return self._refusal or self._own.problem

    @property
    def held(self) -> Held:
        """The agent itself, as it reports what is held on its machine."""
        own = self._membership.own
        holder = Holder(
            subject=AgentSubject(),
            serial=own.svid.serial,
            authority_id=own.authority_id,
            not_after=own.svid.not_after,
            problem=self._own.problem,
            spiffe_id=str(own.svid.spiffe_id),
        )
        return Held(holder=holder, trust=self._trust)

    def heed(self, trust: Watched[Trust]) -> None:
        """Whom this machine believes is whom the newest Trust says, also after a restart; and what it says is to be renewed is renewed."""
        trust.subscribe(self._believe)
        if trust.value is not None:
            self._believe(trust.value)

    def _believe(self, trust: Trust) -> None:
        if trust.trust_domain == self._membership.trust_domain and trust.x509_authorities and trust.bundle.pems != self._membership.roots:
            believing = replace(self._membership, roots=trust.bundle.pems)
            try:
                self._take(believing)
            except OSError as exc:
                # A full disk: this agent believes the right ones all the same, only the next would not.
                _log.error("whom this machine believes could not be kept", path=str(self._path), reason=str(exc))
                self._membership = believing
        self._trust = trust
        own = self._membership.own
        if own.authority_id in trust.renew or own.svid.serial in trust.revoked.serials:
            self._own.renew()

    async def run(self) -> NoReturn:
        """Forwards and renews until cancelled."""
        places = self._places
        sockets = {API: places.api_socket, XDS: places.xds_socket, CITADEL: places.citadel_socket}
        async with asyncio.TaskGroup() as tasks:
            for protocol, path in sockets.items():
                tasks.create_task(self._forward(protocol, path), name=f"remote:{path.name}")
            tasks.create_task(self._own.run(), name="remote:certificate")
            tasks.create_task(self._look(), name="remote:look")
        raise AssertionError("none of them ends by itself")

    async def _forward(self, protocol: str, path: Path) -> None:
        await TlsForwarder(path, lambda: self._way.dial(protocol), self._note, self._switch).serve()

    def _note(self, reason: str | None) -> None:
        if reason is not None:
            self._stumbled.set()

    # --- our certificate

    async def _ask(self, csr_der: bytes) -> Signed:
        client = CitadelClient(local_channel(self._places.citadel_socket))
        try:
            reply = await client.issue(AgentSubject(), csr_der)
        except NotIssued as exc:
            raise NotObtained(str(exc)) from exc
        finally:
            await client.close()
        return Signed(chain_der=reply.chain_der, authority_id=reply.authority_id)

    def _keep(self, own: Own) -> None:
        self._take(replace(self._membership, own=own))

    def _take(self, membership: Membership) -> None:
        write_membership(self._path, membership)
        self._membership, self._kept = membership, _stamp(self._path)

    # --- how we are

    async def _look(self) -> None:
        """The local sockets are there exactly while the control plane serves us: who asks it often is not to ask it in vain."""
        failures, told = 0, ""
        while True:
            self._stumbled.clear()
            self._refusal = await self._way.refusal()
            self._switch.turn(on=not self._refusal)
            failures = failures + 1 if self._refusal else 0
            if self.problem != told:
                told = self.problem
                self._tell(told)
            await self._rest(failures)
            self._heed_new_membership()

    def _tell(self, problem: str) -> None:
        if problem:
            _log.error("this machine is cut off from its mesh", node=self.node, reason=problem)
        else:
            _log.info("the control plane serves this machine", node=self.node)

    async def _rest(self, failures: int) -> None:
        if failures:
            await asyncio.sleep(AGAIN.delay(failures, random.uniform(-1.0, 1.0)))  # noqa: S311 - spreads load only
            return
        await asyncio.sleep(LEAST_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._stumbled.wait()

    def _heed_new_membership(self) -> None:
        """Somebody has joined this machine anew while its agent ran."""
        if _stamp(self._path) == self._kept:
            return
        self._kept = _stamp(self._path)
        try:
            found = read_membership(self._path)
        except LocalFailure as failure:
            _log.error("the new membership cannot be used", reason=str(failure))
            return
        if found is None or (found.node, found.trust_domain) != (self.node, self._membership.trust_domain):
            _log.error("this machine was made another's member; that takes effect when its agent is started again")
            return
        self._membership = found
        self._own.replace(found.own)
        _log.info("joined anew", node=self.node, serial=found.own.svid.serial)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells one writing of the file from the next."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None
