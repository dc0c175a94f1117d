"""The control plane's port for other machines: one TLS port, one decision about the caller for each connection."""

import asyncio
import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

from hauberk.api.problem import problem
from hauberk.citadel.attestation import AttestationRefused, Attested
from hauberk.citadel.authorities import NoIssuer
from hauberk.citadel.join import Machines
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.nodes import AgentCertificate, NodeRefused, control_plane_id
from hauberk.citadel.state import StateUnusable
from hauberk.identity.csr import read_public_key_der
from hauberk.identity.template import InvalidTemplate
from hauberk.identity.trust import Trust
from hauberk.kit.log import logger
from hauberk.kit.tls import PeerRefused, server_context
from hauberk.kit.tls_door import Admitted, TlsDoor, Visitor
from hauberk.local import remote_join
from hauberk.local.remote_certificate import NotObtained, Own, OwnCertificate, Signed
from hauberk.local.remote_doors import API, JOIN, PROTOCOLS, NodeDoors, Services
from hauberk.local.remote_listen import format_address

HOLDER: Final = "control-plane"
_JOINING: Final = "machines that join"  # connections of those who have no name yet; no node is called so
_JOIN_SECONDS: Final = 30.0
# Each takes a moment; whoever holds them and says nothing must neither fill the process nor, alone, keep the others from joining.
_MOST_JOINING: Final = 128
_MOST_JOINING_HERE: Final = 16
# However long a certificate lives: now and then it is looked at anew who calls.
_LONGEST_CONNECTION: Final = timedelta(hours=24)

_log = logger("remote")


class RemoteMachines:
    """Serves the machines that have joined, and those that would like to. `run` serves; the rest is called from the same event loop."""

    def __init__(self, listener: socket.socket, machines: Machines, services: Services, directory: Path) -> None:
        citadel = services.citadel
        self._listener = listener
        self._machines = machines
        self._citadel = citadel
        self._directory = directory
        self._clock = citadel.ground.clock
        self._doors = NodeDoors(directory, services)
        self._door = TlsDoor(self._context, self._admit)
        self._own = OwnCertificate(lambda: control_plane_id(citadel.trust_domain), self._ask, self._clock)
        self._shown: dict[str, dict[str, datetime]] = {}
        self._made: tuple[Own, Trust, ssl.SSLContext] | None = None

    @property
    def connections(self) -> dict[str, int]:
        """How many connections each machine has."""
        return self._door.guests()

    def shut_out(self, node: str) -> None:
        """Every connection of the machine ends now, and what was served to it."""
        ended = self._show_out(node)
        self._doors.close(node)
        if ended:
            _log.info("a machine's connections are ended", node=node, connections=ended)

    async def run(self) -> NoReturn:
        """Serves until cancelled; the listening socket is closed then."""
        async with self._prepared(), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._own.run(), name="remote:certificate")
            tasks.create_task(self._follow_trust(), name="remote:trust")
            await self._own.current.first()
            tasks.create_task(self._door.serve(self._listener), name="remote:door")
            _log.info("serving other machines", address=format_address(self._listener.getsockname()[:2]))
            await asyncio.Event().wait()
        raise AssertionError("waits for ever")

    @asynccontextmanager
    async def _prepared(self) -> AsyncIterator[None]:
        # Of a control plane that was killed: its sockets are still files, and nobody listens.
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        await asyncio.to_thread(self._directory.mkdir, 0o700, parents=True)
        try:
            async with remote_join.serving(self._machines, self._join_socket):
                yield
        finally:
            await self._doors.close_all()

    @property
    def _join_socket(self) -> Path:
        return self._directory / "join.sock"

    # --- what the port shows and believes

    def _context(self) -> ssl.SSLContext:
        own, trust = self._own.current.value, self._citadel.trust
        assert own is not None, "nobody is let in before there is a certificate"
        if self._made is None or self._made[0] is not own or self._made[1].x509_authorities != trust.x509_authorities:
            self._made = own, trust, server_context(own.credentials, trust.bundle.pems, PROTOCOLS, self._directory)
        return self._made[2]

    async def _ask(self, csr_der: bytes) -> Signed:
        attested = Attested(
            spiffe_id=control_plane_id(self._citadel.trust_domain),
            holder=HOLDER,
            node=self._machines.local_node,
            evidence={"asked": "the control plane for itself"},
        )
        try:
            issued = await self._citadel.issuer.issue_to(attested, read_public_key_der(csr_der), by=HOLDER)
        except (AttestationRefused, NoIssuer, KeyUnreadable, InvalidTemplate, StateUnusable) as exc:
            raise NotObtained(str(exc)) from exc
        return Signed(chain_der=issued.chain_der, authority_id=issued.row.authority_id)

    async def _follow_trust(self) -> None:
        async for trust in self._citadel.changes():
            own = self._own.current.value
            if own is not None and _is_over(own, trust):
                self._own.renew()
            for node, serials in tuple(self._shown.items()):
                if not trust.revoked.serials.isdisjoint(serials):
                    # All of its connections, whichever certificate they came in with: an honest agent is back at once.
                    self._show_out(node)

    def _show_out(self, node: str) -> int:
        # By what its connections came in is forgotten with them: the next revocation is to end those of today.
        self._shown.pop(node, None)
        return self._door.show_out(node)

    # --- who calls

    async def _admit(self, visitor: Visitor) -> Admitted:
        if visitor.protocol == JOIN:
            most, here = _MOST_JOINING, _MOST_JOINING_HERE
            return Admitted(path=self._join_socket, owner=_JOINING, seconds=_JOIN_SECONDS, most=most, most_here=here)
        if visitor.certificate is None:
            raise PeerRefused("shows no certificate")
        shown = self._require(visitor)
        if visitor.protocol not in PROTOCOLS:
            raise PeerRefused(f"node {shown.node} speaks {visitor.protocol!r}, which nobody speaks here")
        now = self._clock.now()
        await self._machines.nodes.seen(shown.node, now)
        path = await self._doors.path(shown.node, visitor.protocol)
        # Once more, and nothing is waited for between this and the door's counting it in: a ban or a revocation that came meanwhile
        # has ended the connections that there were, and this was none yet.
        self._remember(self._require(visitor), now)
        # No connection outlives the certificate that it was let in for.
        seconds = max(0.0, min(shown.not_after - now, _LONGEST_CONNECTION).total_seconds())
        return Admitted(path=path, owner=shown.node, seconds=seconds)

    def _require(self, visitor: Visitor) -> AgentCertificate:
        try:
            return self._machines.admit(visitor.certificate or b"")
        except NodeRefused as refused:
            # It has proven who it is, so it may know why; an answer in the API's form, which is what an agent asks in first.
            raise PeerRefused(str(refused), _farewell(str(refused)) if visitor.protocol == API else b"") from refused

    def _remember(self, shown: AgentCertificate, now: datetime) -> None:
        """By which certificates a machine may have connections: one that is revoked ends them."""
        living = {serial: end for serial, end in self._shown.get(shown.node, {}).items() if end > now}
        self._shown[shown.node] = living | {shown.serial: shown.not_after}


def _is_over(own: Own, trust: Trust) -> bool:
    """Whether `own` is to be exchanged now: by order, because nobody believes it any more, or because the mesh has another name."""
    former = own.svid.spiffe_id != control_plane_id(trust.trust_domain)
    return former or own.authority_id in trust.renew or own.svid.serial in trust.revoked.serials


def _farewell(reason: str) -> bytes:
    """An HTTP answer that says why nothing else is answered."""
    remedy = "on the control plane's machine: hauberk ca nodes"
    body = json.dumps({"problems": [problem("HBK0506", reason, remedy=remedy).to_json()]}).encode()
    head = f"HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
