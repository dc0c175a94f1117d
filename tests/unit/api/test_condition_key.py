"""The key of a condition: parsed once, into what is asked."""

import pytest

from hauberk.api.condition_key import ConditionKey, ConditionKeyError, ConditionKind, condition_words, parse_condition_key


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("source.ip", ConditionKind.SOURCE_IP, ()),
        ("request.headers[X-Token]", ConditionKind.HEADER, ("x-token",)),
        ("request.auth.claims[realm.a][roles]", ConditionKind.CLAIM, ("realm.a", "roles")),
        ("experimental.envoy.filters.network.mysql_proxy[db.t]", ConditionKind.METADATA, ("envoy.filters.network.mysql_proxy", "db.t")),
    ],
)
def test_a_key_names_one_thing(text: str, kind: ConditionKind, name: tuple[str, ...]) -> None:
    assert parse_condition_key(text) == ConditionKey(kind, name)


def test_what_is_gone_is_told_with_what_to_do() -> None:
    with pytest.raises(ConditionKeyError, match="selector"):
        parse_condition_key("destination.labels[app]")


def test_every_kind_has_a_word() -> None:
    assert len(condition_words()) == len(ConditionKind)
    for word in condition_words():
        assert parse_condition_key(word.replace("NAME", "a").replace(".FILTER[KEY]", ".a[b]")).kind in ConditionKind


def test_kinds_know_what_they_are_about() -> None:
    assert [each for each in ConditionKind if each.http_only and not each.of_token] == [ConditionKind.HEADER]
    assert all(each.value.startswith("source.") for each in ConditionKind if each.of_peer)
    assert all(each.value.endswith(".ip") for each in ConditionKind if each.address)
