"""Labels that are meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.api.selector import LabelSelector, Requirement, SelectorSyntaxError, WorkloadSelector, parse_selector

WEB = {"app": "web", "tier": "front"}


@pytest.mark.parametrize(
    "text",
    ["app=web", "app==web", "app = web , tier!=back", "app in (web, api)", "tier notin (back),app", "app", "!absent", "absent!=x", ""],
)
def test_texts_that_mean_the_pod(text: str) -> None:
    assert parse_selector(text).matches(WEB)


@pytest.mark.parametrize("text", ["app=api", "app!=web", "app notin (web)", "absent", "!app", "app in (api)", "absent="])
def test_texts_that_do_not_mean_the_pod(text: str) -> None:
    assert not parse_selector(text).matches(WEB)


@pytest.mark.parametrize("text", ["=", "a=b=c", "a in b", "a in (b", ",", "a b"])
def test_texts_that_are_no_selector_are_refused(text: str) -> None:
    with pytest.raises(SelectorSyntaxError):
        parse_selector(text)


def test_expressions_and_labels_must_all_hold() -> None:
    selector = LabelSelector(match_labels={"app": "web"}, match_expressions=(Requirement(key="tier", operator="In", values=("back",)),))
    assert not selector.matches(WEB)


def test_an_empty_selector_means_everything() -> None:
    assert LabelSelector().matches({})
    assert WorkloadSelector().matches({})


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz")), st.sampled_from("abc"), st.lists(st.sampled_from("xyz")))
def test_in_and_notin_are_opposites(labels: dict[str, str], key: str, values: list[str]) -> None:
    inside = Requirement(key=key, operator="In", values=tuple(values))
    outside = Requirement(key=key, operator="NotIn", values=tuple(values))
    assert inside.matches(labels) != outside.matches(labels)
