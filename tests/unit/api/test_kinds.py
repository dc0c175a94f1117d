"""The registry: every kind is found by the words people use, and is complete."""

import pytest

from hauberk.api.kinds import KINDS, Kind, kind_called, kind_named
from hauberk.api.model import ApiModel
from hauberk.api.sift import nested_fields


@pytest.mark.parametrize("word", ["Service", "services", "svc", "SVC", "service"])
def test_a_kind_is_called_by_name_plural_or_short_name(word: str) -> None:
    kind = kind_called(word)
    assert kind and kind.name == "Service"


def test_the_kind_field_of_an_object_is_spelled_exactly() -> None:
    assert kind_named("service") is None
    assert kind_called("secrets") is None


def test_no_word_means_two_kinds() -> None:
    words = [word.lower() for kind in KINDS for word in {kind.name.lower(), kind.plural, *kind.short_names}]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_model_says_its_kind_and_first_version(kind: Kind) -> None:
    fields = kind.model.model_fields
    assert (fields["kind"].default, fields["api_version"].default) == (kind.name, kind.api_versions[0])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_field_is_either_typed_or_listed_as_left_out(kind: Kind) -> None:
    waiting: list[type[ApiModel]] = [kind.model]
    seen: set[type[ApiModel]] = set()
    while waiting:
        model = waiting.pop()
        seen.add(model)
        left_out = (model.HARMLESS, model.IGNORED, model.UNSUPPORTED)
        assert not set(nested_fields(model)) & frozenset().union(*left_out), model.__name__
        assert sum(map(len, left_out)) == len(frozenset().union(*left_out)), model.__name__
        waiting += [nested[0] for nested in nested_fields(model).values() if nested and nested[0] not in seen]
