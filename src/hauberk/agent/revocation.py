"""What this machine does about a revocation: its Envoys refuse, its pods get other certificates, open connections end.

A revocation is dealt with once. Which ones were is on disk: an agent that was killed in the middle deals with the rest, and does not
disturb again whoever came back.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NoReturn, Protocol

from hauberk.agent.revocation_layer import build_revoked_layer
from hauberk.agent.revocation_sweep import Sentence, charges, condemnation, sentence_of
from hauberk.agent.sidecar_pod import PodRef
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.trust import Trust
from hauberk.kit.log import logger
from hauberk.linux.socket_destroy import Connection
from hauberk.xds.layers import Layer

# An Envoy that is busy answers later; connections that ought to end are not left alone for that long.
FIRST_PATIENCE: Final = 2.0
SECOND_PATIENCE: Final = 4.0
_LOOK_SECONDS: Final = 0.05

_log = logger("revocation")


# Ends what is condemned of a pod's connections; how many those were.
End = Callable[[PodRef, Callable[[Connection], bool]], Awaitable[int]]


class Sidecars(Protocol):
    """What is needed of the machine's sidecars."""

    @property
    def pods(self) -> tuple[PodRef, ...]:
        """The pods that have one."""

    def set_revoked(self, revoked: Layer) -> None:
        """Every Envoy refuses these callers from now on."""

    def holds(self, uid: str) -> str:
        """The serial of the certificate that the pod's Envoy shows; empty if it has none."""

    def renew(self, uid: str) -> None:
        """The pod gets another certificate as soon as it may have one."""

    @property
    def settled(self) -> bool:
        """Whether every Envoy has answered for all secrets and all refusals that it was told."""


class Revocations:
    """`take` what the authority says; `run` does what follows from it. `adopted`: whether the machine's pods are known by now."""

    def __init__(self, *, sidecars: Sidecars, end: End, path: Path, adopted: Callable[[], bool]) -> None:
        self._sidecars = sidecars
        self._end_in = end
        self._path = path
        self._adopted = adopted
        self._layer: Layer | None = None
        self._trust: Trust | None = None
        self._changed = asyncio.Event()
        self._dealt_with = _read(path)

    def take(self, trust: Trust) -> None:
        """From now on this holds: every Envoy is told whom to refuse, and every pod whose certificate was revoked gets another."""
        before = self._trust
        self._trust = trust
        if before is not None and before.revoked == trust.revoked:
            return
        self._layer = build_revoked_layer(trust.revoked, self._layer)
        self._sidecars.set_revoked(self._layer)
        lifted = self._lifted(before, trust)
        for pod in self._sidecars.pods:
            # One whose revocation was lifted does not wait for its next attempt, which may be half a minute away.
            if self._needs_another(pod, trust) or pod.uid in lifted:
                self._sidecars.renew(pod.uid)
        self._changed.set()

    def _lifted(self, before: Trust | None, now: Trust) -> frozenset[str]:
        """Pods (uids) that may have certificates again."""
        if before is None:
            return frozenset()
        identities = before.revoked.identities - now.revoked.identities
        pods = self._sidecars.pods
        named = {pod.uid for pod in pods if str(workload_id(now.trust_domain, pod.namespace, pod.service_account)) in identities}
        return (before.revoked.pods - now.revoked.pods) | named

    async def run(self) -> NoReturn:
        """Ends what connections must end, whenever something more was revoked."""
        # Of a mesh that ran before this agent, nothing is known before its pods are taken on.
        await _until(self._adopted, timeout=None)
        while True:
            if self._trust is not None:
                await self._deal_with(self._trust)
            await self._changed.wait()
            self._changed.clear()

    async def _deal_with(self, trust: Trust) -> None:
        revoked = charges(trust.revoked)
        sentence = sentence_of(trust.revoked, self._dealt_with, self._sidecars.pods, trust.trust_domain)
        if sentence:
            # Ended before every Envoy refuses, they would be made again.
            settled = await _until(self._is_done, timeout=FIRST_PATIENCE)
            await self._end(sentence)
            if not settled and await _until(self._is_done, timeout=SECOND_PATIENCE):
                await self._end(sentence)
        if revoked != self._dealt_with:
            self._dealt_with = revoked
            await asyncio.to_thread(_write, self._path, revoked)

    def _is_done(self) -> bool:
        """Every Envoy refuses, and no pod that may have another certificate still shows a revoked one."""
        trust = self._trust
        if trust is None or not self._sidecars.settled:
            return False
        return not any(self._needs_another(pod, trust) for pod in self._sidecars.pods)

    def _needs_another(self, pod: PodRef, trust: Trust) -> bool:
        """Whether the pod shows a revoked certificate and may have another."""
        identity = str(workload_id(trust.trust_domain, pod.namespace, pod.service_account))
        refused = pod.uid in trust.revoked.pods or identity in trust.revoked.identities
        return not refused and self._sidecars.holds(pod.uid) in trust.revoked.serials

    async def _end(self, sentence: Sentence) -> None:
        pods = self._sidecars.pods
        ended = await asyncio.gather(*(self._end_in(pod, condemnation(pod, pods, sentence)) for pod in pods))
        _log.info("connections ended", connections=sum(ended), pods=len(sentence.pods), outside=sentence.outside)


async def _until(holds: Callable[[], bool], *, timeout: float | None) -> bool:
    """Whether `holds` has become true in time. Looked at often: what it asks has no event of its own."""
    try:
        async with asyncio.timeout(timeout):
            while not holds():  # noqa: ASYNC110 - see above
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        return False
    return True


def _read(path: Path) -> frozenset[str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(each for each in found if isinstance(each, str)) if isinstance(found, list) else frozenset()


def _write(path: Path, revoked: frozenset[str]) -> None:
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(sorted(revoked)))
        new.replace(path)
    except OSError as exc:
        # A full disk: after a restart some connections end once more than they had to.
        _log.warning("what was revoked could not be remembered", path=str(path), reason=str(exc))
