"""How another machine comes into the mesh, stays in it, and is put out of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hauberk.citadel.finishing import finished
from hauberk.citadel.join_tokens import DEFAULT_LIFE, JoinRefused, JoinTokens, NewToken
from hauberk.citadel.nodes import AgentCertificate, NodeRefused, Nodes, node_fault, read_agent_certificate
from hauberk.citadel.rate_limit import RateLimit
from hauberk.citadel.state import Write
from hauberk.citadel.state_nodes import NodeRow
from hauberk.identity.csr import read_public_key_der
from hauberk.identity.event import Event, EventKind
from hauberk.identity.wire import IssueReply, JoinRequest

# Tokens that let nobody in, of all callers together: they cannot be told apart by anything they could not make up.
ATTEMPTS_A_SECOND: Final = 5.0
ATTEMPTS_AT_ONCE: Final = 20

# A certificate for the agent of the node named first, for the key of a CSR (DER).
IssueToAgent = Callable[[str, bytes], Awaitable[IssueReply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What joining needs of the rest of the authority."""

    trust_domain: Callable[[], str]  # it can be renamed
    local_node: str
    issue: IssueToAgent
    displace: Callable[[str], None]  # who is connected as that node is so no longer
    record: Callable[[Event], None]
    is_revoked: Callable[[str], bool]  # the certificate of that serial
    now: Callable[[], datetime]
    monotonic: Callable[[], float]


class Machines:
    """Decides which machines take part."""

    def __init__(self, nodes: Nodes, tokens: JoinTokens, around: Surroundings) -> None:
        self.nodes = nodes
        self.tokens = tokens
        self._around = around
        self._limit = RateLimit(rate=ATTEMPTS_A_SECOND, burst=ATTEMPTS_AT_ONCE)
        self._joining: set[str] = set()

    @property
    def local_node(self) -> str:
        """The control plane's own machine."""
        return self._around.local_node

    def takes_part(self, node: str) -> bool:
        """Whether the machine's agent may have certificates."""
        return node == self.local_node or node in self.nodes.joined()

    async def create_token(self, node: str, life: timedelta = DEFAULT_LIFE) -> NewToken:
        """A token with which a machine may join as `node`; raises ValueError or NodeRefused."""
        if fault := node_fault(node, self._around.local_node):
            raise ValueError(fault)
        self.nodes.require_unbanned(node)
        made = await self.tokens.create(node, self._around.now(), life)
        self._tell(EventKind.JOIN_TOKEN_MADE, node, "made", token=made.id, expires=made.expires.isoformat(timespec="seconds"))
        return made

    async def join(self, request: JoinRequest) -> IssueReply:
        """The machine has joined, and this is its agent's first certificate.

        Raises TooMany, JoinRefused, NodeRefused, and whatever keeps a certificate from being issued; then the token stays as good as
        it was.
        """
        if not self.tokens.is_good(request.token, self._around.now()):
            self._limit.take("", self._around.monotonic())
        node, token = request.node, request.token.partition(".")[0][:16]
        # What can be said of the request by itself comes first: a token is not lost to a mistake.
        read_public_key_der(request.csr_der)
        try:
            self._require_name(node)
            # Who hangs up in the middle has joined nevertheless.
            return await finished(self._join(request, token))
        except (JoinRefused, NodeRefused) as refused:
            self._tell(EventKind.NODE_REFUSED, node[:253], str(refused), token=token)
            raise

    async def _join(self, request: JoinRequest, token: str) -> IssueReply:
        node, now, replies = request.node, self._around.now(), list[IssueReply]()

        async def use(spent: Write) -> None:
            self.nodes.require_unbanned(node)
            # From here on nobody is let in by that name, so what its former holder was given until now is all that he ever is.
            self._joining.add(node)
            try:
                self._around.displace(node)
                former = await asyncio.to_thread(self.nodes.living, node, now)
                replies.append(await self._around.issue(node, request.csr_der))
                await self.nodes.join(node, token, now, former=former, more=(spent,))
            finally:
                self._joining.discard(node)

        await self.tokens.consume(request.token, node, now, use)
        self._tell(EventKind.NODE_JOINED, node, "joined", token=token)
        return replies[0]

    def admit(self, certificate: bytes) -> AgentCertificate:
        """The certificate (DER, its chain was checked) of an agent that may call; raises NodeRefused."""
        found = read_agent_certificate(certificate, self._around.trust_domain())
        self._require_name(found.node)
        if found.node in self._joining:
            raise NodeRefused(f"node {found.node} is joining anew")
        self.nodes.admit(found)
        if self._around.is_revoked(found.serial):
            raise NodeRefused(f"the certificate {found.serial} of node {found.node} was revoked")
        return found

    async def ban(self, node: str, reason: str) -> NodeRow:
        """The machine may do nothing from now on."""
        row = await self.nodes.ban(node, self._around.now(), reason)
        self._tell(EventKind.NODE_BANNED, node, "banned", reason=reason)
        return row

    async def readmit(self, node: str) -> NodeRow:
        """The machine may join again, with a new token."""
        row = await self.nodes.readmit(node)
        self._tell(EventKind.NODE_READMITTED, node, "may join again")
        return row

    def _require_name(self, node: str) -> None:
        if fault := node_fault(node, self._around.local_node):
            raise NodeRefused(fault)

    def _tell(self, kind: EventKind, node: str, outcome: str, **evidence: str) -> None:
        self._around.record(Event(time=self._around.now(), kind=kind, subject=node, outcome=outcome, evidence=evidence))
