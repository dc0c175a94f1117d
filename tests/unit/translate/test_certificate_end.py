"""Which age a connection of bytes is given; that Envoy gives it: tests/e2e/test_tls_attacks.py."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from xds.type.matcher.v3 import matcher_pb2

from hauberk.api.mesh_config import MeshConfig
from hauberk.envoy.name import AUTHORIZED
from hauberk.mesh.settings import MeshSettings
from hauberk.translate.certificate_end import LEFT_STATE, age_of_caller, ages, by_age, times_of_caller
from hauberk.translate.limits import build_limits
from hauberk.translate.tcp import authorized_listener

DAY = timedelta(days=1)
MIDNIGHT = datetime(2027, 3, 1, tzinfo=UTC)


def given_age(longest: timedelta, now: datetime, end: datetime) -> str:
    """The age of a connection, with its expressions run as Envoy runs them."""
    kept: dict[str, Any] = {}
    times = {"DOWNSTREAM_PEER_CERT_V_END": end, "START_TIME": now}
    for each in (*times_of_caller(longest), *age_of_caller(longest)):
        text = each.format_string.text_format_source.inline_string
        for name, time in times.items():
            text = re.sub(rf"%{name}\((.*?)\)%", lambda found, time=time: time.strftime(found[1]), text)  # type: ignore[misc]
        text = re.sub(r"%CEL\((.*)\)%", lambda found: str(_evaluate(found[1], kept)), text)
        port = int(text.rpartition(":")[2])
        if port < 1 << 16:  # Envoy keeps no others
            kept[each.object_key] = SimpleNamespace(port=port, text=text)
    return _chosen(longest, kept[LEFT_STATE].text) if LEFT_STATE in kept else ""


def _evaluate(expression: str, kept: dict[str, Any]) -> Any:
    return eval(expression.replace("/", "//"), {"filter_state": kept})


def _chosen(longest: timedelta, left: str) -> str:
    for each in by_age(longest, "").matcher.matcher_list.matchers:
        for asked in each.predicate.or_matcher.predicate or [each.predicate]:
            assert LEFT_STATE in asked.single_predicate.input.typed_config.value.decode()
            if left.startswith(asked.single_predicate.value_match.prefix):
                return _name_of(each.on_match)
    return ""


def _name_of(chosen: matcher_pb2.Matcher.OnMatch) -> str:
    return wrappers_pb2.StringValue.FromString(chosen.action.typed_config.value).value


@pytest.mark.parametrize(
    ("left", "age"),
    [
        (timedelta(seconds=1), "15s"),
        (timedelta(seconds=14), "15s"),
        (timedelta(seconds=15), "60s"),
        (timedelta(minutes=2), "150s"),
        (timedelta(minutes=5), "600s"),
        (timedelta(hours=16), "60000s"),
        (timedelta(hours=17), ""),
        (timedelta(days=9), ""),
        (timedelta(days=400), ""),
    ],
)
@pytest.mark.parametrize("now", [MIDNIGHT, MIDNIGHT - timedelta(seconds=1), datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_a_connection_gets_the_first_age_that_is_not_shorter_than_what_was_left(now: datetime, left: timedelta, age: str) -> None:
    assert given_age(DAY, now, now + left) == age


@given(st.datetimes(datetime(2026, 1, 1), datetime(2089, 1, 1)), st.timedeltas(timedelta(seconds=1), timedelta(days=30)))
def test_it_is_never_too_short_and_at_most_four_times_as_long(now: datetime, left: timedelta) -> None:
    now, left = now.replace(microsecond=0), timedelta(seconds=int(left.total_seconds()))
    longest = timedelta(days=60)
    age = ages(longest).get(given_age(longest, now, now + left), longest)
    assert age > left
    assert age == longest or age <= max(4 * left, timedelta(seconds=15))


def test_leap_days_are_counted() -> None:
    for year in (2027, 2028, 2029):
        new_year = datetime(year + 1, 1, 1, tzinfo=UTC)
        assert given_age(DAY, new_year - timedelta(minutes=1), new_year + timedelta(minutes=1)) == "150s"
    assert given_age(DAY, datetime(2028, 2, 28, 12, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)) == ""


def test_no_age_is_longer_than_a_connection_may_get_anyway() -> None:
    assert list(ages(timedelta(seconds=4))) == []
    assert list(times_of_caller(timedelta(seconds=4))) == list(age_of_caller(timedelta(seconds=4))) == []
    assert list(ages(timedelta(minutes=1))) == ["15s"]


@pytest.mark.parametrize("life", [timedelta(seconds=4), timedelta(minutes=1), DAY, 7 * DAY])
def test_the_second_listener_has_a_chain_for_each_age(life: timedelta) -> None:
    made = authorized_listener(build_limits(MeshConfig(), MeshSettings(certificate_life=life)))
    first, *others = made.filter_chains
    assert first.name == AUTHORIZED
    found = {
        chain.name: tcp_proxy_pb2.TcpProxy.FromString(chain.filters[0].typed_config.value).max_downstream_connection_duration.ToTimedelta()
        for chain in others
    }
    assert found == ages(life)
    (allowed,) = made.filter_chain_matcher.matcher_tree.prefix_match_map.map.items()
    assert allowed[0] == "allow|"
    assert {_name_of(each.on_match) for each in allowed[1].matcher.matcher_list.matchers} == set(found)
