"""Kinds by the names people type."""

import pytest

from hauberk.cli import kinds
from hauberk.cli.failure import Exit, Failure


@pytest.mark.parametrize("name", ["pods", "pod", "po", "Pod", "PODS"])
def test_a_kind_answers_to_all_its_names(name: str) -> None:
    assert kinds.kind_named(name).name == "Pod"


def test_a_kind_may_be_said_with_its_group() -> None:
    assert kinds.kind_named("authorizationpolicies.security.istio.io").name == "AuthorizationPolicy"


def test_an_unknown_kind_is_wrong_usage_and_names_the_known_ones() -> None:
    with pytest.raises(Failure) as caught:
        kinds.kind_named("cronjobs")
    assert caught.value.code is Exit.USAGE
    assert "deployments/deploy" in caught.value.why


def test_several_kinds_are_separated_by_commas() -> None:
    assert [each.plural for each in kinds.kinds_named("deploy,svc")] == ["deployments", "services"]


def test_no_kind_at_all_is_wrong_usage() -> None:
    with pytest.raises(Failure) as caught:
        kinds.kinds_named(",")
    assert caught.value.code is Exit.USAGE
