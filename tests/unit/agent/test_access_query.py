"""The query of /v1/access."""

from datetime import UTC, datetime

import pytest

from hauberk.agent.access_query import read_query

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_nothing_asked_for_is_everything() -> None:
    query = read_query({}, NOW)
    assert (query.since, query.source, query.destination, query.denied, query.request_id, query.limit) == (
        None,
        None,
        None,
        False,
        None,
        1000,
    )


@pytest.mark.parametrize(("since", "seconds"), [("5m", 300), ("300s", 300), ("1.5h", 5400), ("30", 30), ("2026-01-01T11:59:00Z", 60)])
def test_since_is_a_span_or_a_moment(since: str, seconds: int) -> None:
    assert read_query({"since": since}, NOW).since == int((NOW.timestamp() - seconds) * 1_000_000)


@pytest.mark.parametrize("parameters", [{"since": "soon"}, {"limit": "0"}, {"limit": "many"}])
def test_what_is_not_understood_is_named(parameters: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        read_query(parameters, NOW)
