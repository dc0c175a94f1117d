"""Which connections of this machine's pods end because of a revocation, decided from addresses alone.

A kernel knows who is at the other end of a connection by address and not by certificate. So where a pod held what is revoked, all that it
has with others of the mesh ends; where somebody outside of all pods held it, all that anybody outside has with the mesh ends, and who is
not revoked comes back.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from hauberk.agent.sidecar_pod import PodRef
from hauberk.identity.spiffe_id import InvalidSpiffeId, SpiffeId, workload_id
from hauberk.identity.trust import Revoked
from hauberk.linux.socket_destroy import Connection
from hauberk.translate.inbound_listener import INBOUND_PORT

_LOOPBACK = frozenset({"127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Sentence:
    """Whose connections are to end: these pods' (uids), and those of whoever is `outside` of all pods."""

    pods: frozenset[str] = frozenset()
    outside: bool = False

    def __bool__(self) -> bool:
        return bool(self.pods) or self.outside

    def __or__(self, other: Self) -> "Sentence":
        return Sentence(pods=self.pods | other.pods, outside=self.outside or other.outside)


def charges(revoked: Revoked) -> frozenset[str]:
    """Every single thing that is revoked, as text that tells it from all others; what was dealt with once is known by it."""
    named = (("serial", revoked.serials), ("identity", revoked.identities), ("pod", revoked.pods))
    return frozenset(f"{what} {value}" for what, values in named for value in values)


def sentence_of(revoked: Revoked, dealt_with: frozenset[str], pods: Iterable[PodRef], trust_domain: str) -> Sentence:
    """Whose connections are to end for what was revoked beyond `dealt_with`."""
    fresh = charges(revoked) - dealt_with
    by_serial = dict(revoked.holders)
    holders = {by_serial.get(serial, "") for serial in revoked.serials if f"serial {serial}" in fresh}
    identities = {identity for identity in revoked.identities if f"identity {identity}" in fresh}
    own = {pod.uid for pod in pods if str(workload_id(trust_domain, pod.namespace, pod.service_account)) in identities}
    marked = {uid for uid in revoked.pods if f"pod {uid}" in fresh}
    outside = "" in holders or any(_is_foreign(identity, trust_domain) for identity in identities)
    return Sentence(pods=frozenset(holders - {""} | own | marked), outside=outside)


def condemnation(pod: PodRef, meshed: Sequence[PodRef], others: Sequence[PodRef], sentence: Sentence) -> Callable[[Connection], bool]:
    """Of the connections in the network of `pod`, those that are to end. `others` are pods without a sidecar, who may hold certificates."""
    own = _LOOPBACK | frozenset(pod.addresses)
    everybody = frozenset(address for each in meshed for address in each.addresses)
    marked = frozenset(address for each in (*meshed, *others) if each.uid in sentence.pods for address in each.addresses)

    def condemned(connection: Connection) -> bool:
        # Between the program and its own sidecar: it ends when the sidecar sees the other half end, and with a reason.
        if connection.remote in own:
            return False
        if pod.uid in sentence.pods:
            return connection.remote in everybody or connection.local_port == INBOUND_PORT
        if connection.remote in marked:
            return True
        return sentence.outside and connection.local_port == INBOUND_PORT and connection.remote not in everybody

    return condemned


def _is_foreign(identity: str, trust_domain: str) -> bool:
    try:
        return SpiffeId.parse(identity).trust_domain != trust_domain
    except InvalidSpiffeId:
        return True
