from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.workloads.makers import NOW, deployment, pod

from hauberk.api.deployment import Deployment
from hauberk.api.pod import Pod
from hauberk.api.pod_status import PodStatus
from hauberk.workloads.rollout import Plan, is_available, least_available, plan_deployment
from hauberk.workloads.template import HASH_LABEL, template_hash


def names(plan: Plan) -> list[str]:
    return [each.metadata.name for each in plan.delete]


def test_missing_pods_are_made() -> None:
    assert plan_deployment(deployment(3), [], NOW) == Plan(create=3)


def test_a_deployment_as_declared_is_left_alone() -> None:
    assert plan_deployment(deployment(2), [pod("a"), pod("b")], NOW) == Plan()


def test_scaling_down_ends_who_does_not_serve_first_and_then_the_newest() -> None:
    pods = [pod("old", age=300), pod("newest", age=10), pod("broken", ready=False, age=500), pod("newer", age=20)]
    assert names(plan_deployment(deployment(1), pods, NOW)) == ["broken", "newest", "newer"]


def test_scaling_to_nothing_ends_all() -> None:
    assert plan_deployment(deployment(0), [pod("a"), pod("b", version="v1")], NOW).create == 0
    assert names(plan_deployment(deployment(0), [pod("a"), pod("b", version="v1")], NOW)) == ["a", "b"]


def test_a_pod_on_its_way_out_counts_no_more() -> None:
    assert plan_deployment(deployment(1), [pod("a", going=True)], NOW) == Plan(create=1)


def test_a_single_pod_is_replaced_only_once_its_successor_serves() -> None:
    only = deployment(1)
    old, young = pod("old", version="v1"), pod("young", ready=False)
    assert plan_deployment(only, [old], NOW) == Plan(create=1)
    assert plan_deployment(only, [old, young], NOW) == Plan()
    assert names(plan_deployment(only, [old, pod("young")], NOW)) == ["old"]


def test_a_new_pod_is_relied_on_only_after_min_ready_seconds() -> None:
    slow = deployment(1, minReadySeconds=30)
    old = pod("old", version="v1")
    early = plan_deployment(slow, [old, pod("young", ready_for=10)], NOW)
    assert early == Plan(wake_at=NOW + timedelta(seconds=20))
    assert names(plan_deployment(slow, [old, pod("young", ready_for=30)], NOW)) == ["old"]


def test_a_broken_template_does_not_take_the_old_pods_away() -> None:
    olds = [pod(f"old{n}", version="v1") for n in range(4)]
    plan = plan_deployment(deployment(4), olds, NOW)
    assert (plan.create, len(plan.delete)) == (1, 1)
    broken = [pod("n1", ready=False), pod("n2", ready=False)]
    assert plan_deployment(deployment(4), [*olds[1:], *broken], NOW) == Plan()


def test_old_pods_that_do_not_serve_make_room_first() -> None:
    olds = [pod("dead", version="v1", ready=False), *(pod(f"old{n}", version="v1") for n in range(3))]
    assert names(plan_deployment(deployment(4), olds, NOW)) == ["dead"]


def test_recreate_waits_until_the_last_old_pod_is_gone() -> None:
    recreate = deployment(2, strategy={"type": "Recreate"})
    olds = [pod("a", version="v1"), pod("b", version="v1")]
    assert names(plan_deployment(recreate, olds, NOW)) == ["a", "b"]
    assert plan_deployment(recreate, [pod("a", version="v1", going=True)], NOW) == Plan()
    assert plan_deployment(recreate, [], NOW) == Plan(create=2)


def test_a_paused_deployment_keeps_its_number_but_replaces_nothing() -> None:
    paused = deployment(2, paused=True)
    assert plan_deployment(paused, [pod("a", version="v1"), pod("b", version="v1")], NOW) == Plan()
    assert plan_deployment(paused, [pod("a", version="v1")], NOW).create == 1


def test_a_failed_pod_is_kept_and_not_made_again_and_again() -> None:
    failed = pod("a", ready=False).model_copy(update={"status": PodStatus(phase="Failed", reason="NoCommand")})
    assert plan_deployment(deployment(1), [failed], NOW) == Plan()


def test_the_hash_tells_templates_apart_and_not_how_they_are_written() -> None:
    plain = deployment().spec.template
    spelled = plain.model_copy(update={"spec": plain.spec.model_copy(update={"termination_grace_period_seconds": 30})})
    assert template_hash(plain) == template_hash(spelled)
    assert template_hash(plain) != template_hash(deployment(version="v3").spec.template)


@dataclass
class World:
    """Pods that become ready whenever the test says so, under one Deployment."""

    deployment: Deployment
    pods: list[Pod]
    made: int = 0
    log: list[tuple[int, int]] = field(default_factory=list)

    def step(self) -> bool:
        plan = plan_deployment(self.deployment, self.pods, NOW)
        gone = set(names(plan))
        self.pods = [each for each in self.pods if each.metadata.name not in gone]
        for _ in range(plan.create):
            self.made += 1
            self.pods.append(pod(f"new{self.made}", ready=False, age=0))
        self.log.append((sum(is_available(self.deployment, each, NOW) for each in self.pods), len(self.pods)))
        return bool(plan.create or gone)

    def ready(self, chosen: Sequence[bool]) -> None:
        flips = iter(chosen)
        self.pods = [each if each.status.ready or not next(flips, True) else pod(each.metadata.name, age=0) for each in self.pods]


@settings(max_examples=60)
@given(replicas=st.integers(1, 12), surge=st.sampled_from(["25%", 0, 1, "100%"]), gap=st.sampled_from(["25%", 0, 1]), data=st.data())
def test_a_rollout_never_goes_below_what_must_serve_nor_above_what_may_be_and_always_ends(
    replicas: int, surge: int | str, gap: int | str, data: st.DataObject
) -> None:
    if surge == 0 and gap == 0:
        surge = 1
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": gap}}
    wanted = deployment(replicas, strategy=strategy)
    world = World(wanted, [pod(f"old{n}", version="v1") for n in range(replicas)])
    most = replicas + wanted.spec.strategy.rolling_update.surge(replicas)
    for _ in range(6 * replicas + 6):
        world.step()
        world.ready(data.draw(st.lists(st.booleans(), max_size=3)))
    assert all(serving >= least_available(wanted) and total <= most for serving, total in world.log)
    assert not world.step()
    assert {each.metadata.labels[HASH_LABEL] for each in world.pods} == {template_hash(wanted.spec.template)}
    assert len(world.pods) == replicas


@pytest.mark.parametrize("replicas", range(1, 9))
def test_by_default_at_least_one_pod_serves_at_any_time(replicas: int) -> None:
    assert least_available(deployment(replicas)) >= 1
