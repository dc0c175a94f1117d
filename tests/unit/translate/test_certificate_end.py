"""Which age a connection of bytes is given; that Envoy gives it: tests/e2e/test_tls_attacks.py."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from hauberk.api.mesh_config import MeshConfig
from hauberk.envoy.name import AUTHORIZED
from hauberk.mesh.settings import MeshSettings
from hauberk.translate.certificate_end import AGE_STATE, age_of_caller, ages, times_of_caller
from hauberk.translate.limits import build_limits
from hauberk.translate.tcp import authorized_listener

DAY = timedelta(days=1)
MIDNIGHT = datetime(2027, 3, 1, tzinfo=UTC)


def given(longest: timedelta, now: datetime, end: datetime) -> str:
    """The age of a connection, with its expressions run as Envoy runs them."""
    kept: dict[str, Any] = {}
    times = {"DOWNSTREAM_PEER_CERT_V_END": end, "START_TIME": now}
    for each in (*times_of_caller(longest), *age_of_caller(longest)):
        text = each.format_string.text_format_source.inline_string
        for name, time in times.items():
            text = re.sub(rf"%{name}\((.*?)\)%", lambda found, time=time: time.strftime(found[1]), text)  # type: ignore[misc]
        text = re.sub(r"%CEL\((.*)\)%", lambda found: str(_evaluate(found[1], kept)), text)
        kept[each.object_key] = SimpleNamespace(port=int(text.rpartition(":")[2])) if ":" in text else text
    return str(kept[AGE_STATE])


def _evaluate(expression: str, kept: dict[str, Any]) -> Any:
    condition, asks, rest = expression.partition(" ? ")
    if asks:
        then, _, otherwise = rest.partition(" : ")
        return _evaluate(then if _evaluate(condition, kept) else otherwise, kept)
    return eval(expression.replace("/", "//"), {"filter_state": kept})


@pytest.mark.parametrize(
    ("left", "age"),
    [
        (timedelta(seconds=1), "15s"),
        (timedelta(seconds=14), "15s"),
        (timedelta(seconds=15), "60s"),
        (timedelta(minutes=5), "960s"),
        (timedelta(hours=17), "61440s"),
        (timedelta(hours=18), ""),
        (timedelta(days=9), ""),
        (timedelta(days=400), ""),
    ],
)
@pytest.mark.parametrize("now", [MIDNIGHT, MIDNIGHT - timedelta(seconds=1), datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_a_connection_gets_the_first_age_that_is_not_shorter_than_what_was_left(now: datetime, left: timedelta, age: str) -> None:
    assert given(DAY, now, now + left) == age


def test_leap_days_are_counted() -> None:
    for year in (2027, 2028, 2029):
        new_year = datetime(year + 1, 1, 1, tzinfo=UTC)
        assert given(DAY, new_year - timedelta(minutes=1), new_year + timedelta(minutes=1)) == "240s"
    assert given(DAY, datetime(2028, 2, 28, 12, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)) == ""


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
    assert set(allowed[1].matcher.matcher_tree.exact_match_map.map) == set(found)
