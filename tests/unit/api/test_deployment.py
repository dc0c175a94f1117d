"""Deployment: shares of replicas, and mistakes with their places."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.api.deployment import RollingUpdate

Told = Callable[[str], list[tuple[str, str]]]


def deployment(*, selector: str = "{matchLabels: {app: web}}", more: str = "", spec: str = "containers: [{name: a}]") -> str:
    template = f"{{metadata: {{labels: {{app: web}}}}, spec: {{{spec}}}}}"
    return f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{selector: {selector}, template: {template}{more}}}\n"


def test_a_right_deployment_has_no_problem(told: Told) -> None:
    assert told(deployment(more=", replicas: 3, strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}, paused: true")) == []
    assert told(deployment(selector="{matchExpressions: [{key: app, operator: In, values: [web, api]}]}")) == []


def test_the_selector_must_match_the_template(told: Told) -> None:
    assert told(deployment(selector="{matchLabels: {app: api}}")) == [("HBK0115", "spec.selector")]
    assert told(deployment(selector="{}")) == [("HBK0105", "spec.selector")]


def test_expressions_have_values_where_they_need_some(told: Told) -> None:
    at = "spec.selector.matchExpressions[0].values"
    assert told(deployment(selector="{matchExpressions: [{key: app, operator: Exists, values: [a]}]}")) == [("HBK0110", at)]
    assert told(deployment(selector="{matchExpressions: [{key: x, operator: NotIn}]}")) == [("HBK0110", at)]


def test_its_pods_are_always_restarted(told: Told) -> None:
    assert told(deployment(spec="containers: [{name: a}], restartPolicy: Never")) == [("HBK0106", "spec.template.spec.restartPolicy")]


def test_mistakes_of_the_pod_are_found_inside_the_template(told: Told) -> None:
    assert told(deployment(spec="containers: [{name: A}]")) == [("HBK0108", "spec.template.spec.containers[0].name")]


@pytest.mark.parametrize("share", ["-1", "25", "x%", "'%'", "'-1%'"])
def test_a_share_is_a_number_or_a_percentage(told: Told, share: str) -> None:
    quoted = share if share.startswith(("-", "'")) else f"'{share}'"
    problems = told(deployment(more=f", strategy: {{rollingUpdate: {{maxSurge: {quoted}}}}}"))
    assert problems == [("HBK0110", "spec.strategy.rollingUpdate.maxSurge")]


def test_an_update_must_be_able_to_move(told: Told) -> None:
    more = ", strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}"
    assert told(deployment(more=more)) == [("HBK0113", "spec.strategy.rollingUpdate")]


def test_replicas_are_not_negative_nor_fractions(told: Told) -> None:
    assert told(deployment(more=", replicas: -1")) == [("HBK0107", "spec.replicas")]
    assert told(deployment(more=", replicas: 1.5")) == [("HBK0104", "spec.replicas")]


def test_a_percentage_of_surge_is_rounded_up_and_of_unavailable_down() -> None:
    assert (RollingUpdate().surge(10), RollingUpdate().unavailable(10)) == (3, 2)
    assert (RollingUpdate().surge(1), RollingUpdate().unavailable(1)) == (1, 0)
    assert RollingUpdate(max_surge=0, max_unavailable="1%").unavailable(1) == 1


@given(st.integers(0, 1000), st.integers(0, 100), st.integers(0, 100))
def test_an_update_of_any_pods_can_always_move(replicas: int, surge: int, unavailable: int) -> None:
    rolling = RollingUpdate(max_surge=f"{surge}%", max_unavailable=f"{unavailable}%")
    assert rolling.surge(replicas) + rolling.unavailable(replicas) >= 1
