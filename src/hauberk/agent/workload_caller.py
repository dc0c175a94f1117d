"""Who calls the Workload API, and what he may be called: asked anew for every answer, since processes and settings change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hauberk.agent.sidecar_pod import PodRef
from hauberk.identity.spiffe_id import SpiffeId, workload_id
from hauberk.identity.wire import PodSubject, Subject
from hauberk.linux.peer import alive


class NotEntitled(Exception):
    """The caller has no identity; the message says why, and is told to him."""


class NotReady(Exception):
    """Whether he has one cannot be said now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One identity that a caller has been found entitled to, as citadel is asked for it. `hint` tells several of them apart."""

    subject: Subject
    namespace: str
    service_account: str
    hint: str = ""

    def spiffe_id(self, trust_domain: str) -> SpiffeId:
        """Its name in that domain."""
        return workload_id(trust_domain, self.namespace, self.service_account)


class Caller(Protocol):
    """The process at the other end of one connection."""

    async def claims(self) -> tuple[Claim, ...]:
        """What it is entitled to now, the default one first, never nothing; raises NotEntitled or NotReady."""

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        """`tell` is called whenever that may have changed, until what is returned has been called."""


@dataclass(frozen=True, slots=True)
class PodCaller:
    """A process of a pod, which was found to be in that pod when it connected; namespaces cannot be left."""

    pod: PodRef
    pidfd: int

    async def claims(self) -> tuple[Claim, ...]:
        """The pod's one identity, while the process that connected lives: what it left its connection to was not looked at."""
        if not alive(self.pidfd):
            raise NotEntitled("the process that connected has ended")
        return (claim_of(self.pod),)

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        """A pod's identity is its service account's, and that is fixed."""
        return lambda: None


def claim_of(pod: PodRef) -> Claim:
    """What every process of `pod` may be called."""
    subject = PodSubject(namespace=pod.namespace, name=pod.name, uid=pod.uid)
    return Claim(subject=subject, namespace=pod.namespace, service_account=pod.service_account)
