"""Who may hold which certificate: what is known about the asker decides, never what he says about himself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from hauberk.api.pod import Pod
from hauberk.citadel.state_authorities import AuthorityRow
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.wire import Subject

_FINISHED = ("Succeeded", "Failed")


class AttestationRefused(PermissionError):
    """No certificate is issued for this claim; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Which machine's agent asks. `evidence`: how that is known, such as (("socket", "citadel.sock"),).

    `own`: the machine is the control plane's, which nobody had to let in.
    """

    node: str
    own: bool = False
    evidence: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What a claim has been found to be true of. `holder`: as `state_issued` names it; `evidence`: what proved it.

    `lifetime` None: the settings of the authority decide.
    """

    spiffe_id: SpiffeId
    holder: str
    node: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    lifetime: timedelta | None = None
    dns_names: tuple[str, ...] = ()


class Attestor(Protocol):
    """Proves claims."""

    def attest(self, subject: Subject, caller: Caller) -> Attested:
        """What `subject` is, if `caller` may ask for it; raises AttestationRefused."""


class NobodyAttested:
    """`Attestor` of an authority that nothing is connected to yet."""

    def attest(self, subject: Subject, caller: Caller) -> Attested:
        raise AttestationRefused("nobody can be attested here")


class Refusals(Protocol):
    """Who gets nothing any more."""

    def reason(self, spiffe_id: SpiffeId, holder: str, node: str) -> str | None:
        """Why nobody may have this identity now (it, its holder or its machine is revoked); None: he may."""

    def banned(self, node: str) -> bool:
        """Whether the machine is shut out."""

    def is_listed(self, serial: str) -> bool:
        """Whether the certificate of that serial must not be believed, so that nobody waits for its end."""

    @property
    def in_force(self) -> bool:
        """Whether proxies have revocation lists, and so believe no issuing authority whose list they have not."""

    def crls(self, rows: Sequence[AuthorityRow]) -> tuple[bytes, ...]:
        """The lists (DER) that must go with a Trust in which `rows` are the authorities."""


class NobodyRefused:
    """`Refusals` of a mesh in which nothing was ever revoked."""

    def reason(self, spiffe_id: SpiffeId, holder: str, node: str) -> str | None:
        return None

    def banned(self, node: str) -> bool:
        return False

    def is_listed(self, serial: str) -> bool:
        return False

    @property
    def in_force(self) -> bool:
        return False

    def crls(self, rows: Sequence[AuthorityRow]) -> tuple[bytes, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodClaim:
    """An agent's word that a pod runs on its node. `service_account` may be left out: it is the store's anyway."""

    namespace: str
    name: str
    uid: str
    node: str
    service_account: str | None = None


def attest(claim: PodClaim, pod: Pod | None) -> Pod:
    """The pod that `claim` is about, if the store's `pod` of that name bears every word of it out."""
    what = f"pod {claim.namespace}/{claim.name}"
    if pod is None or (pod.metadata.namespace, pod.metadata.name) != (claim.namespace, claim.name):
        raise AttestationRefused(f"there is no {what}")
    if not claim.uid or pod.metadata.uid != claim.uid:
        raise AttestationRefused(f"{what} is another one by now: its uid is not {claim.uid!r}")
    if not claim.node or pod.spec.node_name != claim.node:
        raise AttestationRefused(f"{what} does not run on node {claim.node!r}")
    if claim.service_account is not None and claim.service_account != pod.spec.service_account_name:
        raise AttestationRefused(f"{what} does not run as service account {claim.service_account!r}")
    if pod.status.phase in _FINISHED:
        raise AttestationRefused(f"{what} has ended")
    return pod
