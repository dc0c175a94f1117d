"""Carries out what rollouts plan, and sweeps away what has lost its owner; one transaction a round."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hauberk.api.deployment import Deployment
from hauberk.api.namespace import Namespace
from hauberk.api.pod import Pod
from hauberk.api.service_account import ServiceAccount
from hauberk.kit.log import logger
from hauberk.sources.change import Event, EventType
from hauberk.sources.draft import Draft
from hauberk.sources.problems import ResumeTooOld, StoreError
from hauberk.sources.removal import finish_namespace, remove
from hauberk.sources.store import Store
from hauberk.workloads.rollout import plan_deployment
from hauberk.workloads.status import Failure, build_status, deadline
from hauberk.workloads.template import make_pod, make_suffix, owner_of, template_hash

KINDS = ("Deployment", "Pod", "ServiceAccount", "Namespace")
RETRY_SECONDS = 1.0  # after the store could not be written: the disk may have room again

_log = logger("workloads")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Chance:
    """Where time and names come from."""

    now: Callable[[], datetime] = _now
    choose: Callable[[str], str] = secrets.choice


@dataclass(slots=True)
class Agenda:
    """What the next round has to look at."""

    deployments: set[str] = field(default_factory=set)  # by uid
    everything: bool = True  # at first, and whenever something was missed
    owners: bool = True  # some owner is gone
    wake_at: dict[str, datetime] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        """What an event gives reason to look at."""
        match event.object:
            case Deployment() as deployment:
                self.deployments.add(deployment.metadata.uid)
                if event.type is EventType.DELETED:
                    self.owners = True
                    self.wake_at.pop(deployment.metadata.uid, None)
            case Pod() as pod:
                if (owner := owner_of(pod)) is not None:
                    self.deployments.add(owner)
                self.owners |= event.type is EventType.ADDED  # made while its owner went
                self.owners |= event.type is EventType.DELETED  # a namespace may be empty now
            case ServiceAccount():
                self.everything = True
            case _:
                self.owners = True

    def due(self, now: datetime) -> set[str]:
        """The Deployments whose time has come."""
        return {uid for uid, moment in self.wake_at.items() if moment <= now}


class Workloads:
    """Keeps every Deployment's pods as it declares them."""

    def __init__(self, store: Store, *, node: str, others: Callable[[], Collection[str]] = tuple, chance: Chance | None = None) -> None:
        self._store = store
        self._node = node
        self._others = others  # machines that a template may name instead
        self._chance = chance or Chance()
        self._agenda = Agenda()
        self._noted = asyncio.Event()

    async def run(self) -> None:
        """Looks after all Deployments until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="workloads:watch")
            tasks.create_task(self._work(), name="workloads:work")

    async def _watch(self) -> None:
        since: int | None = None
        while True:
            try:
                async for events in self._store.subscribe(KINDS, since):
                    for event in events:
                        self._agenda.note(event)
                    self._noted.set()
            except ResumeTooOld:
                self._agenda.everything = self._agenda.owners = True

    async def _work(self) -> None:
        while True:
            await self._wait()
            try:
                await self.round()
            except StoreError as error:
                _log.error("deployments cannot be looked after", reason=str(error))
                self._agenda.everything = self._agenda.owners = True
                await asyncio.sleep(RETRY_SECONDS)
                self._noted.set()

    async def _wait(self) -> None:
        moment = min(self._agenda.wake_at.values(), default=None)
        # One second more than exact: timestamps have whole seconds, and a moment too early would be a busy loop.
        seconds = None if moment is None else max((moment - self._chance.now()).total_seconds(), 0.0) + 1.0
        try:
            async with asyncio.timeout(None if self._agenda.everything else seconds):
                await self._noted.wait()
        except TimeoutError:
            return
        self._noted.clear()

    async def round(self) -> None:
        """Everything on the agenda is done: one step of each rollout concerned, in one transaction."""
        agenda, self._agenda = self._agenda, Agenda(everything=False, owners=False, wake_at=self._agenda.wake_at)
        now = self._chance.now()
        uids = agenda.deployments | agenda.due(now)
        if not (uids or agenda.everything or agenda.owners):
            return
        committed = await self._store.transact(lambda draft: self._decide(draft, None if agenda.everything else uids, agenda.owners, now))
        for uid, moment in committed.value.items():
            if moment is None:
                self._agenda.wake_at.pop(uid, None)
            else:
                self._agenda.wake_at[uid] = moment

    def _decide(self, draft: Draft, uids: set[str] | None, owners: bool, now: datetime) -> dict[str, datetime | None]:
        pods = pods_by_owner(draft.of(Pod))
        deployments = [each for each in draft.of(Deployment) if uids is None or each.metadata.uid in uids]
        if owners:
            sweep(draft, pods, now)
        return {each.metadata.uid: self._step(draft, each, pods.get(each.metadata.uid, ()), now) for each in deployments}

    def _step(self, draft: Draft, deployment: Deployment, pods: Sequence[Pod], now: datetime) -> datetime | None:
        plan = plan_deployment(deployment, pods, now)
        refused = refusal(draft, deployment) if plan.create else None
        for pod in plan.delete:
            remove(draft, pod, now)
        if refused is None:
            self._create(draft, deployment, plan.create)
        present = pods_of(draft, deployment) if plan.delete or plan.create else pods
        changed = deployment.model_copy(update={"status": build_status(deployment, present, now, refused)})
        draft.put(changed)
        moments = (moment for moment in (plan.wake_at, deadline(changed)) if moment is not None)
        return min(moments, default=None)

    def _create(self, draft: Draft, deployment: Deployment, count: int) -> None:
        hash_ = template_hash(deployment.spec.template)
        made = 0
        while made < count:
            pod = make_pod(deployment, hash_, make_suffix(self._chance.choose), self._node, self._others())
            if draft.get(pod.key) is None:
                draft.put(pod)
                made += 1


def pods_by_owner(pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    """The pods that some Deployment made, by its uid."""
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        if (owner := owner_of(pod)) is not None:
            found.setdefault(owner, []).append(pod)
    return found


def pods_of(draft: Draft, deployment: Deployment) -> tuple[Pod, ...]:
    """The pods that the Deployment made."""
    return tuple(pod for pod in draft.of(Pod, deployment.metadata.namespace) if owner_of(pod) == deployment.metadata.uid)


def refusal(draft: Draft, deployment: Deployment) -> Failure | None:
    """Why no pod of the Deployment may be made."""
    account = deployment.spec.template.spec.service_account_name
    namespace = draft.find(Namespace, "", deployment.metadata.namespace)
    if namespace is not None and namespace.metadata.deletion_timestamp is not None:
        return Failure(reason="NamespaceTerminating", message=f"namespace {namespace.metadata.name} is being deleted")
    if draft.find(ServiceAccount, deployment.metadata.namespace, account) is None:
        message = f"there is no ServiceAccount {account} in namespace {deployment.metadata.namespace}: create it and the pods follow"
        return Failure(reason="FailedCreate", message=message)
    return None


def sweep(draft: Draft, pods: dict[str, list[Pod]], now: datetime) -> None:
    """Pods whose Deployment is gone are marked to go, and namespaces that were marked and are empty are gone."""
    living = {deployment.metadata.uid for deployment in draft.of(Deployment)}
    for owner, owned in pods.items():
        if owner not in living:
            for pod in owned:
                remove(draft, pod, now)
    for namespace in draft.of(Namespace):
        finish_namespace(draft, namespace.metadata.name)
