"""What has to happen so that a Deployment's pods become what it declares: pure, decided from what is there now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hauberk.api.deployment import Deployment
from hauberk.api.pod import Pod
from hauberk.workloads.template import HASH_LABEL, template_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """A Deployment's pods that are to stay, by whether they are of its present template."""

    new: tuple[Pod, ...]
    old: tuple[Pod, ...]
    going: tuple[Pod, ...]  # marked to go: they count no more, but may still run

    @property
    def staying(self) -> tuple[Pod, ...]:
        return self.new + self.old


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Create so many of the present template, end these, and look again at `wake_at` if nothing happens before."""

    create: int = 0
    delete: tuple[Pod, ...] = ()
    wake_at: datetime | None = None


def sort_pods(deployment: Deployment, pods: Sequence[Pod]) -> Pods:
    """The pods by what they are to the Deployment."""
    wanted = template_hash(deployment.spec.template)
    staying = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
    return Pods(
        new=tuple(pod for pod in staying if pod.metadata.labels.get(HASH_LABEL) == wanted),
        old=tuple(pod for pod in staying if pod.metadata.labels.get(HASH_LABEL) != wanted),
        going=tuple(pod for pod in pods if pod.metadata.deletion_timestamp is not None),
    )


def available_at(deployment: Deployment, pod: Pod) -> datetime | None:
    """When the pod counts as available: ready, and for minReadySeconds. None if it is not ready."""
    condition = pod.status.condition("Ready")
    if condition is None or condition.status != "True":
        return None
    since = condition.last_transition_time or pod.metadata.creation_timestamp
    return None if since is None else since + timedelta(seconds=deployment.spec.min_ready_seconds)


def is_available(deployment: Deployment, pod: Pod, now: datetime) -> bool:
    """The pod serves, and has done so long enough to be relied on."""
    if deployment.spec.min_ready_seconds == 0:
        return pod.status.ready  # whatever the clocks say
    moment = available_at(deployment, pod)
    return moment is not None and moment <= now


def least_available(deployment: Deployment) -> int:
    """How many pods must serve at any time."""
    spec = deployment.spec
    if spec.strategy.type == "Recreate":
        return spec.replicas
    return max(spec.replicas - spec.strategy.rolling_update.unavailable(spec.replicas), 0)


def plan_deployment(deployment: Deployment, pods: Sequence[Pod], now: datetime) -> Plan:
    """The next step. Pods that failed or cannot start are kept, not replaced: another of the same would fail the same."""
    sorted_ = sort_pods(deployment, pods)
    surplus, kept = _split_surplus(sorted_.new, deployment.spec.replicas)
    if deployment.spec.paused:
        return _plan_paused(deployment, sorted_)
    if deployment.spec.strategy.type == "Recreate":
        return _plan_recreate(deployment, sorted_, surplus)
    total = len(kept) + len(sorted_.old)
    most = deployment.spec.replicas + deployment.spec.strategy.rolling_update.surge(deployment.spec.replicas)
    missing = deployment.spec.replicas - len(kept)
    ending = _ending_old(deployment, kept, sorted_.old, now)
    return Plan(
        create=max(min(missing, most - total), 0),
        delete=surplus + ending,
        wake_at=_next_available(deployment, sorted_.staying, now),
    )


def _plan_recreate(deployment: Deployment, pods: Pods, surplus: tuple[Pod, ...]) -> Plan:
    wanted = template_hash(deployment.spec.template)
    running = pods.old or any(pod.metadata.labels.get(HASH_LABEL) != wanted for pod in pods.going)
    # Nothing of the old must be left, not even on its way out: two versions at once is what Recreate excludes.
    missing = 0 if running else max(deployment.spec.replicas - len(pods.new), 0)
    return Plan(create=missing, delete=surplus + pods.old)


def _plan_paused(deployment: Deployment, pods: Pods) -> Plan:
    surplus, kept = _split_surplus(pods.staying, deployment.spec.replicas)
    return Plan(create=deployment.spec.replicas - len(kept), delete=surplus)


def _split_surplus(pods: tuple[Pod, ...], wanted: int) -> tuple[tuple[Pod, ...], tuple[Pod, ...]]:
    """The pods that are too many and those that stay: who does not serve goes first, then the newest."""
    count = max(len(pods) - wanted, 0)
    ordered = sorted(pods, key=_ending_order)
    return tuple(ordered[:count]), tuple(ordered[count:])


def _ending_order(pod: Pod) -> tuple[bool, float, str]:
    created = pod.metadata.creation_timestamp
    return pod.status.ready, -created.timestamp() if created else 0.0, pod.metadata.name


def _ending_old(deployment: Deployment, new: tuple[Pod, ...], old: tuple[Pod, ...], now: datetime) -> tuple[Pod, ...]:
    """Old pods that can go now without fewer than `least_available` serving."""
    serving = [pod for pod in old if is_available(deployment, pod, now)]
    idle = [pod for pod in old if not is_available(deployment, pod, now)]
    starting = sum(not is_available(deployment, pod, now) for pod in new)
    least = least_available(deployment)
    # New pods that do not serve yet are not counted on: an old one that is just starting may be needed if they never do.
    spare = len(new) + len(old) - least - starting
    if spare <= 0:
        return ()
    useless = sorted(idle, key=_ending_order)[:spare]
    replaced = max(len(new) - starting + len(serving) - least, 0)
    return (*useless, *sorted(serving, key=_ending_order)[: min(replaced, spare - len(useless))])


def _next_available(deployment: Deployment, pods: tuple[Pod, ...], now: datetime) -> datetime | None:
    if deployment.spec.min_ready_seconds == 0:
        return None
    moments = (available_at(deployment, pod) for pod in pods)
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
