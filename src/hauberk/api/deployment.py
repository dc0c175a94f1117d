"""Deployment: so many pods of one template, and how a changed template replaces them."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import ClassVar, Literal

from hauberk.api.condition import Condition
from hauberk.api.finding import Finding
from hauberk.api.metadata import ApiObject, TemplateMetadata
from hauberk.api.model import ApiModel, Bool, Count, Int, IntOrString
from hauberk.api.pod import PodSpec, check_pod_spec
from hauberk.api.selector import LabelSelector, check_requirements


class RollingUpdate(ApiModel):
    """How many pods there may be more, and fewer, than asked for while templates change: numbers or percentages."""

    max_surge: IntOrString = "25%"
    max_unavailable: IntOrString = "25%"

    def surge(self, replicas: int) -> int:
        """Pods more than `replicas`, rounded up."""
        return resolve(self.max_surge, replicas, up=True)

    def unavailable(self, replicas: int) -> int:
        """Pods fewer than `replicas`, rounded down; one if neither number would let the update move."""
        down = resolve(self.max_unavailable, replicas, up=False)
        return down if down or self.surge(replicas) else 1


class Strategy(ApiModel):
    """Replace pods one after the other, or all at once."""

    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class PodTemplate(ApiModel):
    """What each pod is made from."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: PodSpec


class DeploymentSpec(ApiModel):
    """What a Deployment is asked to be; times are in seconds."""

    replicas: Count = 1
    selector: LabelSelector
    template: PodTemplate
    strategy: Strategy = Strategy()
    min_ready_seconds: Count = 0
    progress_deadline_seconds: Count = 600
    revision_history_limit: Count = 10
    paused: Bool = False


class DeploymentStatus(ApiModel):
    """What the controller has observed."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"collisionCount", "terminatingReplicas"})

    observed_generation: Int = 0
    replicas: Int = 0
    updated_replicas: Int = 0
    ready_replicas: Int = 0
    available_replicas: Int = 0
    unavailable_replicas: Int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(ApiObject):
    """A set of equal pods."""

    api_version: Literal["apps/v1"] = "apps/v1"
    kind: Literal["Deployment"] = "Deployment"
    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()

    def findings(self) -> Iterator[Finding]:
        return check_deployment(self)


def resolve(share: int | str, replicas: int, *, up: bool) -> int:
    """A number of pods from a number or a percentage of `replicas`."""
    if isinstance(share, int):
        return share
    exact = replicas * int(share.removesuffix("%"))
    return ceil(exact / 100) if up else exact // 100


def check_deployment(deployment: Deployment) -> Iterator[Finding]:
    """Mistakes that types alone do not show."""
    spec = deployment.spec
    labels = spec.template.metadata.labels
    if not spec.selector.match_labels and not spec.selector.match_expressions:
        yield Finding("HBK0105", ("spec", "selector"), "must select something: an empty selector would adopt every pod")
    elif not spec.selector.matches(labels):
        yield Finding("HBK0115", ("spec", "selector"), "does not match the labels of the template, so its own pods would be strangers")
    if spec.template.spec.restart_policy != "Always":
        at = ("spec", "template", "spec", "restartPolicy")
        yield Finding("HBK0106", at, "a Deployment's pods are always restarted", "remove the field, or set it to Always")
    yield from check_requirements(("spec", "selector", "matchExpressions"), spec.selector.match_expressions)
    yield from _check_strategy(spec.strategy)
    yield from check_pod_spec(("spec", "template", "spec"), spec.template.spec)


def _check_strategy(strategy: Strategy) -> Iterator[Finding]:
    rolling = strategy.rolling_update
    if strategy.type == "Recreate":
        if rolling != RollingUpdate():
            yield Finding("HBK0113", ("spec", "strategy", "rollingUpdate"), "has no meaning when the type is Recreate")
        return
    at = ("spec", "strategy", "rollingUpdate")
    wrong = False
    for name, share in (("maxSurge", rolling.max_surge), ("maxUnavailable", rolling.max_unavailable)):
        if not _is_share(share):
            wrong = True
            yield Finding("HBK0110", (*at, name), f"{share!r} is neither a number nor a percentage such as 25%")
    if not wrong and _is_nothing(rolling.max_surge) and _is_nothing(rolling.max_unavailable):
        yield Finding("HBK0113", at, "maxSurge and maxUnavailable cannot both be 0: no pod could ever be replaced")


def _is_share(share: int | str) -> bool:
    return share >= 0 if isinstance(share, int) else share.endswith("%") and share[:-1].isascii() and share[:-1].isdigit()


def _is_nothing(share: int | str) -> bool:
    return resolve(share, 100, up=True) == 0
