"""Which connections are open, read from the lines of a sidecar."""

import json
from pathlib import Path

import pytest

from hauberk.agent.live_connections import LiveConnection, LiveConnections

ALICE = "spiffe://cluster.local/ns/shop/sa/alice"


def begun(port: int = 5000, *, caller: str = "10.0.0.1", **more: str) -> bytes:
    return line("TcpUpstreamConnected", f"{caller}:{port}", **more)


def ended(port: int = 5000, *, caller: str = "10.0.0.1") -> bytes:
    return line("TcpConnectionEnd", f"{caller}:{port}")


def line(what: str, caller: str, **more: str) -> bytes:
    return json.dumps({"k": "t", "e": what, "ca": caller, "la": "10.0.0.9:9000", **more}, separators=(",", ":")).encode()


@pytest.fixture
def live(tmp_path: Path) -> LiveConnections:
    return LiveConnections(tmp_path / "connections" / "u-1.jsonl")


def callers(live: LiveConnections) -> list[int]:
    return sorted(each.caller_port for each in live.all())


def test_a_connection_is_open_from_its_first_line_to_its_last(live: LiveConnections) -> None:
    assert live.take([begun(pi=ALICE, n="outbound_.9000")]) == []
    assert live.all() == (LiveConnection(caller="10.0.0.1:5000", called="10.0.0.9:9000", identity=ALICE, server_name="outbound_.9000"),)
    assert live.take([ended()]) == [ended()], "its end is a record"
    assert live.all() == ()


def test_a_connection_that_is_made_where_another_has_just_ended_is_open(live: LiveConnections) -> None:
    live.take([begun(pi="old"), ended(), begun(pi="new")])
    assert [each.identity for each in live.all()] == ["new"]


def test_lines_about_requests_are_left_alone(live: LiveConnections) -> None:
    lines = [b'hi2\x1f"e":"TcpUpstreamConnected"', b"{no json", begun(), b'{"k":"l"}']
    assert live.take(lines) == [lines[0], lines[1], lines[3]]


def test_no_caller_can_pass_its_end_off_as_a_beginning(live: LiveConnections) -> None:
    forged = line("TcpConnectionEnd", "10.0.0.1:5000", n='x","e":"TcpUpstreamConnected","y":"')
    live.take([begun()])
    assert live.take([forged]) == [forged]
    assert live.all() == ()


def test_the_next_agent_knows_what_is_open(live: LiveConnections, tmp_path: Path) -> None:
    live.take([begun(1), begun(2), begun(3)])
    live.take([ended(2)])
    journal = tmp_path / "connections" / "u-1.jsonl"
    with journal.open("ab") as file:
        file.write(begun(4)[:30])  # it was killed in the middle of a line
    assert callers(LiveConnections(journal)) == [1, 3]


def test_the_journal_does_not_grow_with_what_has_ended(live: LiveConnections, tmp_path: Path) -> None:
    live.take([begun(1)])
    for _ in range(40):
        live.take([begun(port, n="x" * 100) for port in range(2, 202)])
        live.take([ended(port) for port in range(2, 202)])
    journal = tmp_path / "connections" / "u-1.jsonl"
    assert journal.stat().st_size < 1_500_000
    assert callers(live) == callers(LiveConnections(journal)) == [1]


def test_addresses_of_both_families_are_read(live: LiveConnections) -> None:
    live.take([begun(7, caller="[fd00::1]")])
    (found,) = live.all()
    assert (found.caller_host, found.caller_port, found.called_host, found.called_port) == ("fd00::1", 7, "10.0.0.9", 9000)


def test_lines_without_addresses_are_no_connections(live: LiveConnections) -> None:
    assert live.take([line("TcpUpstreamConnected", "nobody")]) == []
    assert live.all() == ()


def test_of_a_pod_that_is_gone_nothing_is_kept(live: LiveConnections, tmp_path: Path) -> None:
    live.take([begun()])
    live.forget()
    assert [*(tmp_path / "connections").iterdir()] == []
