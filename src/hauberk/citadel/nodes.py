"""The machines of the mesh beside the control plane's own: who has joined, who was banned, what each may prove itself with."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509

from hauberk.api.name import subdomain_fault
from hauberk.citadel.state import State, Write
from hauberk.citadel.state_issued import read_issued_to, write_revoked
from hauberk.citadel.state_nodes import NodeRow, read_nodes, write_nodes
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.svid import InvalidSvid, leaf_spiffe_id
from hauberk.identity.template import BACKDATE

# Being seen is noted in memory at once and on disk now and then: it is for people, and not worth a write each time.
NOTED_EVERY: Final = timedelta(minutes=1)
_AGENT_PATH: Final = "/hauberk/agent/"


class NodeRefused(PermissionError):
    """Whoever calls is no agent that may; the message says why."""


def agent_id(trust_domain: str, node: str) -> SpiffeId:
    """The identity of the agent of `node`."""
    return SpiffeId(trust_domain, f"{_AGENT_PATH}{node}")


def agent_holder(node: str) -> str:
    """What the ledger calls who has that identity."""
    return f"agent {node}"


def control_plane_id(trust_domain: str) -> SpiffeId:
    """The identity of the control plane itself."""
    return SpiffeId(trust_domain, "/hauberk/control-plane")


def node_fault(name: str, local: str) -> str | None:
    """Why no machine can join as `name`; `local` is the control plane's own, whose pods must be nobody else's."""
    if fault := subdomain_fault(name):
        return f"{name[:80]!r} is no name for a node: it {fault}"
    if name == local.lower():
        return f"{name} is the control plane's own machine, which is in the mesh already"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCertificate:
    """What an agent's certificate says."""

    node: str
    serial: str  # 32 hexadecimal digits
    not_before: datetime
    not_after: datetime


def read_agent_certificate(certificate: bytes, trust_domain: str) -> AgentCertificate:
    """What an agent's certificate (DER) says; its chain has been checked. Raises NodeRefused for any other's."""
    try:
        leaf = x509.load_der_x509_certificate(certificate)
        spiffe_id = leaf_spiffe_id(leaf)
    except (ValueError, InvalidSvid) as exc:
        raise NodeRefused(f"its certificate is not an agent's: {exc}") from exc
    node = spiffe_id.path.removeprefix(_AGENT_PATH)
    # Built anew and compared whole: whatever else has a path of this kind is not the one.
    if subdomain_fault(node) or spiffe_id != agent_id(trust_domain, node):
        raise NodeRefused(f"its certificate is not an agent's of {trust_domain}, but {spiffe_id}")
    return AgentCertificate(
        node=node, serial=f"{leaf.serial_number:032x}", not_before=leaf.not_valid_before_utc, not_after=leaf.not_valid_after_utc
    )


class Nodes:
    """The rows in memory; each change is on disk before it counts. One event loop uses it."""

    def __init__(self, state: State, rows: dict[str, NodeRow]) -> None:
        self._state = state
        self._rows = rows
        self._noted: dict[str, datetime] = {}
        self._changing = asyncio.Lock()

    @classmethod
    def open(cls, state: State) -> Self:
        """The nodes that `state` holds."""
        return cls(state, {row.name: row for row in read_nodes(state)})

    def all(self) -> tuple[NodeRow, ...]:
        """Every machine that has ever joined, by name."""
        return tuple(self._rows[name] for name in sorted(self._rows))

    def joined(self) -> frozenset[str]:
        """Names of the machines that pods may be placed on."""
        return frozenset(row.name for row in self._rows.values() if row.joined is not None and row.banned is None)

    def banned(self) -> frozenset[str]:
        """Names of the machines that may do nothing."""
        return frozenset(row.name for row in self._rows.values() if row.banned is not None)

    def require(self, name: str) -> NodeRow:
        """The machine, which may take part; raises NodeRefused."""
        row = self._rows.get(name)
        if row is None or (row.joined is None and row.banned is None):
            raise NodeRefused(f"node {name} has not joined")
        if row.banned is not None:
            raise NodeRefused(f"node {name} was banned at {row.banned:%Y-%m-%d %H:%M:%S} UTC" + (f": {row.reason}" if row.reason else ""))
        return row

    def admit(self, certificate: AgentCertificate) -> NodeRow:
        """The machine that shows this certificate; raises NodeRefused.

        Certificates from before it joined are another machine's, or its own in a life that is over. Which they are was noted when it
        joined; by its time is known what no ledger remembers.
        """
        row = self.require(certificate.node)
        long_ago = row.joined is not None and certificate.not_before < row.joined - 2 * BACKDATE
        if long_ago or certificate.serial in row.former:
            raise NodeRefused(f"node {certificate.node} has joined anew since the certificate {certificate.serial} was issued")
        return row

    def require_unbanned(self, name: str) -> None:
        """The machine may join, or has; raises NodeRefused."""
        if name in self.banned():
            self.require(name)

    async def join(self, name: str, token: str, now: datetime, *, former: Collection[str] = (), more: Sequence[Write] = ()) -> None:
        """The machine takes part from now on; raises NodeRefused if it is banned.

        Certificates of the serials `former` admit nobody any more. On disk at once with it is what `more` writes.
        """
        async with self._changing:
            self.require_unbanned(name)
            over = (write_revoked(serial, now, f"node {name} joined anew") for serial in former)
            await self._keep(NodeRow(name=name, joined=now, token=token, seen=now, former=frozenset(former)), *over, *more)

    def living(self, name: str, now: datetime) -> tuple[str, ...]:
        """Serials of the certificates that agents of that name hold. Blocks for as long as the database takes."""
        holder = agent_holder(name)
        return tuple(
            row.serial for row in read_issued_to(self._state, holder_prefix=holder) if row.holder == holder and row.not_after > now
        )

    async def seen(self, name: str, now: datetime) -> None:
        """The machine has called."""
        async with self._changing:
            row = self._rows.get(name)
            if row is None:
                return
            self._rows[name] = row = replace(row, seen=now)
            if now - self._noted.get(name, now - NOTED_EVERY) >= NOTED_EVERY:
                self._noted[name] = now
                await self._keep(row)

    async def ban(self, name: str, now: datetime, reason: str) -> NodeRow:
        """The machine may do nothing from now on; raises NodeRefused if there is none of that name."""
        async with self._changing:
            row = self._rows.get(name)
            if row is None:
                raise NodeRefused(f"there is no node {name}")
            if row.banned is None:
                row = replace(row, banned=now, reason=reason)
                await self._keep(row)
            return row

    async def readmit(self, name: str) -> NodeRow:
        """The machine may join again, with a new token; raises NodeRefused if it is not banned."""
        async with self._changing:
            row = self._rows.get(name)
            if row is None or row.banned is None:
                raise NodeRefused(f"node {name} is not banned")
            row = replace(row, joined=None, banned=None, reason="", token="")
            await self._keep(row)
            return row

    async def _keep(self, row: NodeRow, *more: Write) -> None:
        before = self._rows.get(row.name)
        # First in memory: a ban counts from this moment, also if whoever asked for it goes away while it is written.
        self._rows[row.name] = row
        try:
            await self._state.write(write_nodes((row,)), *more)
        except Exception:
            if before is None:
                del self._rows[row.name]
            else:
                self._rows[row.name] = before
            raise
