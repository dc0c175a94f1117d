"""The other machines as the API asks for them, and what banning one comes to: connections, pods, certificates."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from hauberk.api.pod import Pod
from hauberk.apiserver.state import Parts
from hauberk.citadel.attestation import Attested
from hauberk.citadel.join import Machines, Surroundings
from hauberk.citadel.join_tokens import JoinTokens
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.nodes import NodeRefused, agent_holder, agent_id
from hauberk.citadel.revocation import Target
from hauberk.citadel.state import StateUnusable
from hauberk.citadel.state_issued import read_living
from hauberk.citadel.state_nodes import NodeRow
from hauberk.citadel.state_revocations import What
from hauberk.identity.csr import read_public_key_der
from hauberk.identity.wire import IssueReply, PodSubject
from hauberk.kit.clock import format_timestamp
from hauberk.kit.log import logger
from hauberk.local.citadel import ServedCitadel
from hauberk.local.joining_file import FORMAT
from hauberk.local.remote import RemoteMachines
from hauberk.local.remote_doors import Services
from hauberk.local.remote_listen import Listen, format_address, open_listener
from hauberk.pilot.pilot import Pilot
from hauberk.sources.draft import Draft
from hauberk.sources.problems import StoreError
from hauberk.sources.store import Store

# An agent reports every few seconds; one that is silent for so long has lost its way or its machine.
SILENT: Final = timedelta(seconds=30)
_AGAIN_SECONDS: Final = 10.0

_log = logger("remote")


def open_machines(served: ServedCitadel, displace: Callable[[str], None]) -> Machines:
    """The machines of the authority `served`; `displace` is told of one that joins, perhaps in the place of another of its name."""
    citadel, clock = served.citadel, served.ground.clock

    async def issue(node: str, csr_der: bytes) -> IssueReply:
        attested = Attested(
            spiffe_id=agent_id(citadel.trust_domain, node), holder=agent_holder(node), node=node, evidence={"proven": "a join token"}
        )
        issued = await citadel.issuer.issue_to(attested, read_public_key_der(csr_der), by=f"node {node}")
        return IssueReply(chain_der=issued.chain_der, trust_sequence=citadel.trust.sequence, authority_id=issued.row.authority_id)

    around = Surroundings(
        trust_domain=lambda: citadel.trust_domain,
        local_node=served.node,
        issue=issue,
        displace=displace,
        record=served.ground.ledger.record,
        is_revoked=served.revocations.is_listed,
        now=clock.now,
        monotonic=clock.monotonic,
    )
    return Machines(served.nodes, JoinTokens.open(served.ground.state), around)


class ServedMachines:
    """`Machines` of the API, and the port for other machines. `listen` None: there is none, and nobody can join.

    Raises ListenImpossible when it is made.
    """

    def __init__(self, store: Store, served: ServedCitadel, listen: Listen | None) -> None:
        self._store = store
        self._served = served
        self._listen = listen
        # Before anything is served: a control plane that cannot do what it was told must say so, and what calls early is not refused.
        self._listener = None if listen is None else open_listener(listen)
        self._port: RemoteMachines | None = None
        self._machines = open_machines(served, self._shut_out)

    async def run(self, parts: Parts, pilot: Pilot, directory: Path) -> None:
        """Serves other machines, if so told, until cancelled; what a ban that was killed left undone is done."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._finish_bans(), name="bans")
            if self._listener is not None:
                services = Services(parts=parts, pilot=pilot, citadel=self._served.citadel, more=self._served.more)
                self._port = RemoteMachines(self._listener, self._machines, services, directory)
                await self._port.run()

    # --- for people who manage machines

    async def create_token(self, node: str, seconds: float) -> Mapping[str, Any]:
        """The contents of a join file."""
        if self._listen is None:
            raise ValueError("this control plane does not listen for other machines: start it with `hauberk up --listen HOST:PORT`")
        try:
            life = timedelta(seconds=seconds)
        except (OverflowError, ValueError) as exc:
            raise ValueError(f"{seconds!r} seconds are no time that a token can live") from exc
        made = await self._machines.create_token(node, life)
        await self._served.ground.flush()
        trust = self._served.citadel.trust
        return {
            "format": FORMAT,
            "node": made.node,
            "addresses": [format_address(each) for each in self._listen.advertised],
            "trustDomain": trust.trust_domain,
            "trustBundle": list(trust.bundle.pems),
            "token": made.text,
            "expires": format_timestamp(made.expires),
        }

    def nodes(self) -> Mapping[str, Any]:
        """Machines, and the tokens that are still good."""
        now = self._now()
        tokens = [
            {"id": row.id, "node": row.node, "expires": format_timestamp(row.expires)} for row in self._machines.tokens.outstanding(now)
        ]
        listen = None if self._listen is None else [format_address(each) for each in self._listen.advertised]
        return {"nodes": [self._document(row) for row in self._machines.nodes.all()], "tokens": tokens, "addresses": listen}

    async def ban(self, node: str, reason: str) -> Mapping[str, Any]:
        """First the machine is out; then what it had is taken from it."""
        try:
            row = await self._machines.ban(node, reason)
        except NodeRefused as refused:
            raise LookupError(str(refused)) from refused
        self._shut_out(node)
        taken = await self._take_all(row)
        await self._served.ground.flush()
        return {**self._document(row), **taken}

    async def _finish_bans(self) -> None:
        """Whoever was banned has nothing: the control plane may have been killed while that was taken from him."""
        failure, left = "", [row for row in self._machines.nodes.all() if row.banned is not None]
        while left:
            try:
                await self._take_all(left[-1])
                left.pop()
            except (StateUnusable, StoreError, KeyUnreadable, OSError) as exc:
                if str(exc) != failure:
                    _log.error("what banned machines had cannot be taken from them yet", reason=str(exc))
                failure = str(exc)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _take_all(self, row: NodeRow) -> dict[str, list[str]]:
        """Neither pods nor certificates are left to the machine, which was banned."""
        pods = await self._remove_pods(row.name)
        revoked = await self._revoke_all(row.name, f"node {row.name} was banned" + (f": {row.reason}" if row.reason else ""))
        return {"removedPods": pods, "revokedCertificates": revoked}

    def _shut_out(self, node: str) -> None:
        if self._port is not None:
            self._port.shut_out(node)

    async def readmit(self, node: str) -> Mapping[str, Any]:
        """What it held stays revoked: it joins as one that nobody knows."""
        row = await self._machines.readmit(node)
        await self._served.ground.flush()
        return self._document(row)

    async def _remove_pods(self, node: str) -> list[str]:
        """There is nobody who could end them, so their objects go at once: nothing is sent to them any more."""

        def decide(draft: Draft) -> list[str]:
            there = [pod for pod in draft.of(Pod) if pod.spec.node_name == node]
            for pod in there:
                draft.delete(pod.key)
            return [f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in there]

        return (await self._store.transact(decide)).value

    async def _revoke_all(self, node: str, reason: str) -> list[str]:
        served = self._served
        authorities = [row.id for row in served.citadel.authorities.rows]
        found = await asyncio.to_thread(read_living, served.ground.state, self._now(), authorities)
        living = [row for row in found if row.node == node]
        targets = [Target(what=What.SERIAL, value=row.serial, name=row.serial) for row in living]
        await served.revocations.revoke_all(targets, by="ban", reason=reason)
        return [row.serial for row in living]

    # --- for the status

    def agents(self) -> Sequence[dict[str, Any]]:
        """The agents of the machines that take part."""
        placed = [pod.spec.node_name for pod in self._store.of(Pod)]
        joined = sorted(self._machines.nodes.joined())
        return [{"node": node, "ready": self._connected(node), "pods": placed.count(node)} for node in joined]

    def proxy(self, namespace: str, pod: str) -> dict[str, Any]:
        """Ready and certificate of a proxy on another machine, by its agent's word."""
        found = self._store.find(Pod, namespace, pod)
        if found is None or found.spec.node_name == self._served.node:
            return {}
        subject = PodSubject(namespace=namespace, name=pod, uid=found.metadata.uid)
        report = self._served.citadel.roster.reports.get(found.spec.node_name)
        holder = next((each for each in report.holders if each.subject == subject), None) if report is not None else None
        known: dict[str, Any] = {"node": found.spec.node_name, "ready": found.status.ready and self._connected(found.spec.node_name)}
        if holder is not None and holder.serial:
            known["certificate"] = {"spiffeId": holder.spiffe_id, "serial": holder.serial, "notAfter": format_timestamp(holder.not_after)}
        return known

    def _connected(self, node: str) -> bool:
        agent = self._served.citadel.roster.agents.get(node)
        heard = None if agent is None else agent.heard or agent.connected
        return heard is not None and self._now() - heard < SILENT

    def _document(self, row: NodeRow) -> dict[str, Any]:
        state = "banned" if row.banned else "joined" if row.joined else "may join"
        agent = self._served.citadel.roster.agents.get(row.name)
        heard = None if agent is None else agent.heard
        seen = max((each for each in (row.seen, heard) if each is not None), default=None)
        moments = {"joinedAt": row.joined, "seenAt": seen, "bannedAt": row.banned}
        document: dict[str, Any] = {"name": row.name, "state": state, "connected": self._connected(row.name)}
        document |= {name: format_timestamp(moment) for name, moment in moments.items() if moment is not None}
        if row.reason:
            document["reason"] = row.reason
        holder = agent_holder(row.name)
        newest = next((each for each in self._served.citadel.certificates_of(holder) if each.holder == holder), None)
        if newest is not None:
            document["certificate"] = {"serial": newest.serial, "notAfter": format_timestamp(newest.not_after)}
        return document

    def _now(self) -> datetime:
        return self._served.ground.clock.now()
