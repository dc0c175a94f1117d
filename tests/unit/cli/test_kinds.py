"""The command line's own list of kinds."""

import pytest

from hauberk.api import kinds as registry
from hauberk.cli import kinds
from hauberk.cli.failure import Exit, Failure


def test_the_list_says_what_the_registry_says() -> None:
    ours = {(each.kind, each.plural, each.short, each.namespaced) for each in kinds.KINDS}
    theirs = {(each.name, each.plural, each.short_names, each.namespaced) for each in registry.KINDS}
    assert ours == theirs


@pytest.mark.parametrize("name", ["pods", "pod", "po", "Pod", "PODS"])
def test_a_kind_answers_to_all_its_names(name: str) -> None:
    assert kinds.kind_named(name).kind == "Pod"


def test_a_kind_may_be_said_with_its_group() -> None:
    assert kinds.kind_named("authorizationpolicies.security.istio.io").kind == "AuthorizationPolicy"


def test_an_unknown_kind_is_wrong_usage_and_names_the_known_ones() -> None:
    with pytest.raises(Failure) as caught:
        kinds.kind_named("cronjobs")
    assert caught.value.code is Exit.USAGE
    assert "deployments/deploy" in caught.value.why


def test_several_kinds_are_separated_by_commas() -> None:
    assert [each.plural for each in kinds.kinds_named("deploy,svc")] == ["deployments", "services"]
