"""One pod's certificate and trust on their way into its Envoy, and the proof that they have arrived there."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from hauberk.agent.citadel_client import CitadelClient
from hauberk.agent.relay import Relay
from hauberk.agent.rotation import Identity, Rotation, wait_for
from hauberk.agent.sds import Secrets, build_secrets
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.trust import MachineTrust
from hauberk.agent.trust_report import Held
from hauberk.identity.rotation import Phase
from hauberk.identity.trust import Trust
from hauberk.identity.wire import Holder, PodSubject
from hauberk.kit.clock import Clock
from hauberk.kit.log import logger
from hauberk.kit.watched import Watched

# A clock that was set by a day ends every certificate at once; where the control plane answers, none is needed but a moment.
_GRACE_SECONDS = 2.0

_log = logger("rotation")


class SidecarIdentity:
    """What the Envoy of `pod` is told by `relay` of whom it is and whom it believes. `on_change`: any of that may have changed."""

    def __init__(
        self, pod: PodRef, *, client: CitadelClient, trust: MachineTrust, relay: Relay, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._name = pod.full_name
        self._clock = clock
        self._subject = PodSubject(namespace=pod.namespace, name=pod.name, uid=pod.uid)
        self._trust = trust
        self._relay = relay
        self._on_change = on_change
        self._secrets: Secrets | None = None
        self._proven: Secrets | None = None
        self._stranger = True
        self._ended = asyncio.Event()
        self.current: Watched[Identity] = Watched()
        self.complete = asyncio.Event()
        self.rotation = Rotation(
            pod.full_name,
            issue=partial(client.issue, self._subject),
            publish=self._publish,
            account=(pod.namespace, pod.service_account),
            node=pod.node,
            clock=clock,
            on_phase=self._phase_changed,
        )

    async def run(self) -> None:
        """Obtains and renews until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.rotation.run(), name="sidecar:rotation")
            tasks.create_task(self.rotation.watch(), name="sidecar:certificate")

    @property
    def problem(self) -> str:
        """Why the pod has no fresh certificate, or no trust; empty when all is well."""
        if self._trust.current.value is None:
            return self.rotation.problem or "whom to trust has not been told yet: the control plane has not been reached"
        return self.rotation.problem

    @property
    def alarm(self) -> bool:
        """Whether somebody should look: the certificate was not renewed in good time, or has ended."""
        return self.rotation.phase in (Phase.ALARMING, Phase.ENDED)

    @property
    def usable(self) -> bool:
        """Whether there is a certificate and it has not ended."""
        return self.complete.is_set() and self.rotation.phase is not Phase.ENDED

    def tell(self) -> None:
        """Envoy is told all that is known."""
        trust = self._trust.current.value
        if trust is None:
            return
        self._secrets = build_secrets(trust, self.current.value, self._secrets)
        self._relay.set_secrets(self._secrets)
        if self._secrets.whole:
            self.complete.set()

    def believe(self, trust: Trust, window: timedelta) -> None:
        """The machine's trust is this now; what it orders to be renewed is so within `window`."""
        self.tell()
        self.rotation.heed(trust.renew, window)

    async def ended(self) -> None:
        """The certificate has ended and no other came in time: open connections must not go on as if it had not.

        Returns once for each certificate.
        """
        while True:
            await self._ended.wait()
            self._ended.clear()
            if not self.rotation.failing:
                await wait_for(self._ended, _GRACE_SECONDS)
            if self.rotation.phase is Phase.ENDED:
                return

    def envoy_acknowledged(self) -> None:
        """Envoy may have taken on newer secrets."""
        if (acknowledged := self._relay.acknowledged) is None:
            return
        before, self._proven, self._stranger = self._proven, acknowledged, False
        identity = acknowledged.identity
        if identity is not None and (before is None or before.identity is not identity):
            took = round(self._clock.monotonic() - identity.asked, 4)
            _log.info("certificate in use", pod=self._name, serial=identity.svid.serial, seconds=took, renewed=before is not None)

    def envoy_is_gone(self) -> None:
        """There is no Envoy: the next one will be told the newest, and hold nothing older."""
        self._proven, self._stranger = None, False

    @property
    def held(self) -> Held:
        """What the pod's Envoy has proven to hold; it goes on holding that while its stream is broken."""
        proven = self._proven
        identity = proven.identity if proven is not None else None
        problem = self.problem or ("" if self._relay.connected else "its Envoy is not connected")
        if identity is None:
            holder = Holder(subject=self._subject, problem=problem)
        else:
            holder = Holder(
                subject=self._subject,
                serial=identity.svid.serial,
                authority_id=identity.authority_id,
                not_after=identity.svid.not_after,
                problem=problem,
                spiffe_id=str(identity.svid.spiffe_id),
            )
        return Held(holder=holder, trust=proven.trust if proven is not None else None, unknown=self._stranger)

    def _publish(self, identity: Identity) -> None:
        self.current.set(identity)
        self.tell()

    def _phase_changed(self, phase: Phase) -> None:
        if phase is Phase.ENDED:
            self._ended.set()
        self._on_change()
