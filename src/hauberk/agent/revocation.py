"""What this machine does about a revocation: its Envoys refuse, its pods get other certificates, open connections end.

A revocation is dealt with once. Which ones were is on disk: an agent that was killed in the middle deals with the rest, and does not
disturb again whoever came back. Only an Envoy that hangs is waited for longer: what it has let in ends when it refuses at last.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, NoReturn, Protocol

from hauberk.agent.revocation_sweep import Sentence, charges, condemnation, sentence_of
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.trust_report import Held
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.trust import Trust
from hauberk.kit.log import logger
from hauberk.kit.watched import Watched
from hauberk.linux.socket_destroy import Connection

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

    @property
    def held(self) -> Iterable[Held]:
        """What each Envoy has acknowledged: its certificate, and the Trust, with all whom to refuse."""

    @property
    def changes(self) -> Watched[str]:
        """Whose (uid) may hold or have acknowledged something else."""

    def serials(self, uid: str) -> frozenset[str]:
        """Of the pod's certificates: the one that its Envoy shows, and the newest, which it is told."""

    def replace_certificate(self, uid: str) -> None:
        """The pod asks for another certificate at once."""

    def ask_again(self, uid: str) -> None:
        """If the pod was refused a certificate, it asks again at once."""


class Revocations:
    """`take` what the authority says; `run` does what follows from it. `adopted`: whether the machine's pods are known by now.

    `others`: its pods without a sidecar. They may have certificates all the same, by the Workload API.
    """

    def __init__(
        self,
        *,
        sidecars: Sidecars,
        end: End,
        path: Path,
        adopted: Callable[[], bool] = lambda: True,
        others: Callable[[], tuple[PodRef, ...]] = lambda: (),
    ) -> None:
        self._sidecars = sidecars
        self._others = others
        self._end_in = end
        self._path = path
        self._adopted = adopted
        self._trust: Trust | None = None
        self._changed = asyncio.Event()
        self._dealt_with = _read(path)
        self._owed = Sentence()  # carried out, but not every Envoy refused by then
        self._replaced: frozenset[tuple[str, str]] = (
            frozenset()
        )  # pods (uids) and their certificates in place of which others were asked for
        sidecars.changes.subscribe(self._look)

    def follow(self, trust: Watched[Trust]) -> None:
        """Each Trust, the present one first, is taken when there is one."""
        trust.subscribe(self.take)
        if trust.value is not None:
            self.take(trust.value)

    def take(self, trust: Trust) -> None:
        """From now on this holds; every pod whose certificate was revoked gets another, if it may."""
        before, self._trust = self._trust, trust
        if before is not None and before.revoked == trust.revoked:
            return
        self._replace(trust)
        for uid in self._lifted(before, trust):
            # Its next attempt by itself may be half a minute away.
            self._sidecars.ask_again(uid)
        self._changed.set()

    def _look(self, uid: str) -> None:
        """The pod may by now hold a certificate that was revoked on its way, or its Envoy refuse, which it did not."""
        revoked = self._trust.revoked.serials if self._trust is not None else frozenset()
        if self._owed or (revoked and self._sidecars.serials(uid) & revoked):
            self._changed.set()

    def _replace(self, trust: Trust) -> None:
        """Asked for once for each certificate: while there is none to be had, trying again is the rotation's matter."""
        shown = ((pod.uid, self._sidecars.serials(pod.uid) & trust.revoked.serials) for pod in self._needy(trust))
        needy = frozenset((uid, serial) for uid, serials in shown for serial in serials)
        for uid in sorted({uid for uid, _ in needy - self._replaced}):
            self._sidecars.replace_certificate(uid)
        self._replaced = needy

    def _lifted(self, before: Trust | None, now: Trust) -> frozenset[str]:
        """Pods (uids) that may have certificates again."""
        if before is None:
            return frozenset()
        identities = before.revoked.identities - now.revoked.identities
        pods = self._sidecars.pods
        named = {pod.uid for pod in pods if _identity(pod, now) in identities}
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
        self._replace(trust)
        revoked = charges(trust.revoked)
        sentence = sentence_of(trust.revoked, self._dealt_with, (*self._sidecars.pods, *self._others()), trust.trust_domain)
        if sentence:
            # Ended before every Envoy refuses, they would be made again.
            if not await _until(self._is_done, timeout=FIRST_PATIENCE):
                await self._end(sentence)
                if not await _until(self._is_done, timeout=SECOND_PATIENCE):
                    self._owed |= sentence
            await self._end(sentence)
        elif self._owed and self._is_done():
            sentence, self._owed = self._owed, Sentence()
            await self._end(sentence)
        if revoked != self._dealt_with:
            self._dealt_with = revoked
            await asyncio.to_thread(_write, self._path, revoked)

    def _is_done(self) -> bool:
        """Every Envoy that runs refuses, and no pod that may have another certificate still shows a revoked one."""
        trust = self._trust
        if trust is None or self._needy(trust):
            return False
        running = (held for held in self._sidecars.held if held.running)
        return all(held.trust is not None and held.trust.revoked == trust.revoked for held in running)

    def _needy(self, trust: Trust) -> tuple[PodRef, ...]:
        """Pods that show a revoked certificate, or are about to, and may have another."""
        revoked = trust.revoked
        refused = {pod.uid for pod in self._sidecars.pods if _identity(pod, trust) in revoked.identities} | revoked.pods
        return tuple(pod for pod in self._sidecars.pods if pod.uid not in refused and self._sidecars.serials(pod.uid) & revoked.serials)

    async def _end(self, sentence: Sentence) -> None:
        meshed, others = self._sidecars.pods, self._others()
        concerned = (*meshed, *(pod for pod in others if pod.uid in sentence.pods))
        ended = await asyncio.gather(*(self._end_in(pod, condemnation(pod, meshed, others, sentence)) for pod in concerned))
        _log.info("connections ended", connections=sum(ended), pods=len(sentence.pods), outside=sentence.outside)


def _identity(pod: PodRef, trust: Trust) -> str:
    return str(workload_id(trust.trust_domain, pod.namespace, pod.service_account))


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
