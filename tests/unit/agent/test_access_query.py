"""The query of /v1/access."""

from datetime import UTC, datetime

import pytest

from hauberk.agent.access_query import MOST, read_query

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


@pytest.mark.parametrize(
    "since", ["9" * 400, "1e400", "99999999d", "9" * 5000 + "d", "0001-01-01T00:00:00+23:00", "-5m", "٣m", "NaN", "\0"]
)
def test_a_moment_that_no_clock_can_show_is_a_mistake_of_the_asker(since: str) -> None:
    with pytest.raises(ValueError, match="since") as mistake:
        read_query({"since": since}, NOW)
    assert len(str(mistake.value)) < 120


@pytest.mark.parametrize("limit", ["²", "-1", "1.5", "0" * 5000, "٣"])
def test_a_limit_that_is_no_number_is_a_mistake_of_the_asker(limit: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        read_query({"limit": limit}, NOW)


@pytest.mark.parametrize("limit", ["10001", "9" * 30, "9" * 5000, str(2**63)])
def test_no_question_gets_more_than_the_agent_can_hold(limit: str) -> None:
    assert read_query({"limit": limit}, NOW).limit == MOST


@pytest.mark.parametrize(("limit", "read"), [("7", 7), ("0007", 7), ("10000", MOST)])
def test_what_the_agent_can_hold_is_answered(limit: str, read: int) -> None:
    assert read_query({"limit": limit}, NOW).limit == read
