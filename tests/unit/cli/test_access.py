"""Access records as rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hauberk.agent.access_query import read_query
from hauberk.cli.access import row, span

RECORD: dict[str, Any] = {
    "time": "2026-01-01T12:00:00.000Z",
    "source": {"identity": "spiffe://cluster.local/ns/shop/sa/frontend", "pod": "frontend-1", "namespace": "shop", "address": "10.244.0.3"},
    "destination": {"identity": None, "pod": None, "namespace": "shop", "service": "catalog.shop.svc.cluster.local", "port": 80},
    "protocol": "http/1.1",
    "method": "GET",
    "path": "/items",
    "status": 200,
    "durationMs": 1.26,
    "mtls": {"version": "TLSv1.3"},
    "decision": {"verdict": "allow", "policy": None},
    "reporter": "source",
}


def _texts(record: dict[str, Any]) -> list[str]:
    return [cell if isinstance(cell, str) else cell.text for cell in row(record)][1:]


def test_a_request_reads_from_left_to_right() -> None:
    assert _texts(RECORD) == ["shop/frontend", "catalog.shop:80", "GET /items", "200", "1.3", "TLSv1.3", "allow", "source"]


def test_a_denied_connection_names_the_policy() -> None:
    denied = {
        **RECORD,
        "method": None,
        "protocol": "tcp",
        "status": None,
        "flags": "UAEX",
        "mtls": None,
        "decision": {"verdict": "deny", "policy": "shop/no"},
    }
    assert _texts(denied)[2:] == ["tcp", "UAEX", "1.3", "-", "deny shop/no", "source"]


def _told(**decision: Any) -> list[str]:
    cells = row({**RECORD, "decision": decision}, wide=True)
    return [cell if isinstance(cell, str) else cell.text for cell in (cells[7], cells[9], cells[10])]


def test_a_refusal_by_no_policy_is_told_in_words() -> None:
    assert _told(verdict="deny", reason="ambiguous path")[0] == "deny ambiguous path"
    assert _told(verdict="deny", policy="shop/ask", reason="external authorization")[0] == "deny shop/ask (external authorization)"


def test_a_dry_run_is_told_with_the_decision_where_it_differs_and_always_in_its_own_column() -> None:
    would = {"verdict": "deny", "policy": "shop/try", "rule": "0"}
    assert _told(verdict="allow", dryRun=would) == ["allow (dry-run: deny shop/try)", "deny shop/try", "-"]
    assert _told(verdict="allow", dryRun={"verdict": "allow"}) == ["allow", "allow", "-"]
    assert _told(verdict="deny", policy="shop/no", dryRun={"verdict": "allow"})[0] == "deny shop/no (dry-run: allow)"


def test_policies_that_took_note_are_named() -> None:
    assert _told(verdict="allow", dryRun=None, audit=[{"policy": "shop/note", "rule": "0"}]) == ["allow", "-", "shop/note"]


def test_a_caller_without_identity_is_known_by_its_address() -> None:
    assert _texts({**RECORD, "source": {"identity": None, "pod": None, "address": "10.1.1.1"}})[0] == "10.1.1.1"


def test_a_long_span_is_understood_by_the_agent() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    asked = read_query({"since": span(timedelta(days=30).total_seconds())}, now)
    assert asked.since == int((now - timedelta(days=30)).timestamp()) * 1_000_000
