"""Which connections are open, read from the lines of a sidecar."""

import json
from pathlib import Path

import pytest

from hauberk.agent.live_connections import LiveConnection, LiveConnections, Upgrade

ALICE = "spiffe://cluster.local/ns/shop/sa/alice"


def begun(port: int = 5000, *, caller: str = "10.0.0.1", **more: str) -> bytes:
    return line("TcpUpstreamConnected", f"{caller}:{port}", **more)


def ended(port: int = 5000, *, caller: str = "10.0.0.1") -> bytes:
    return line("TcpConnectionEnd", f"{caller}:{port}")


def line(what: str, caller: str, **more: str) -> bytes:
    return json.dumps({"k": "t", "e": what, "ca": caller, "la": "10.0.0.9:9000", **more}, separators=(",", ":")).encode()


def upgrade(what: str, near: int = 7000, **more: str) -> bytes:
    fields = {"k": "u", "e": what, "ca": "10.0.0.1:5000", "la": "10.0.0.9:8080", "ra": "192.0.2.7", "m": "GET", "a": "web", "p": "/chat"}
    ends = {"ul": f"10.0.0.9:{near}", "ur": "10.0.0.9:8080", "uv": "HTTP/1.1", "t": "1"}
    return json.dumps(fields | ends | more, separators=(",", ":")).encode()


def upgraded(near: int = 7000, **more: str) -> bytes:
    return upgrade("DownstreamTunnelSuccessfullyEstablished", near, **more)


def over(near: int = 7000, **more: str) -> bytes:
    return upgrade("DownstreamEnd", near, **more)


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


def test_an_upgraded_request_is_open_until_it_is_over_and_neither_is_a_record(live: LiveConnections) -> None:
    assert live.take([upgraded(pi=ALICE, n="outbound_.80"), upgraded(7001)]) == []
    (first, _) = live.all()
    request = Upgrade(method="GET", host="web", path="/chat", client="192.0.2.7", near="10.0.0.9:7000", far="10.0.0.9:8080")
    assert first == LiveConnection(
        caller="10.0.0.1:5000", called="10.0.0.9:8080", identity=ALICE, server_name="outbound_.80", upgrade=request
    )
    assert live.take([over()]) == []
    assert [each.upgrade and each.upgrade.near for each in live.all()] == ["10.0.0.9:7001"]


def test_many_upgraded_requests_of_one_caller_and_its_connections_are_told_apart(live: LiveConnections, tmp_path: Path) -> None:
    live.take([begun(), upgraded(7000), upgraded(7001), over(7000), ended()])
    assert [each.upgrade and each.upgrade.near for each in live.all()] == ["10.0.0.9:7001"]
    assert LiveConnections(tmp_path / "connections" / "u-1.jsonl").all() == live.all()


def test_the_end_of_a_request_that_was_not_upgraded_ends_no_other(live: LiveConnections) -> None:
    live.take([over(t="1"), upgraded(t="2"), over(t="1")])
    assert len(live.all()) == 1


def test_a_connection_that_carries_many_requests_is_not_taken_for_one(live: LiveConnections) -> None:
    assert live.take([upgraded(uv="HTTP/2"), upgraded(ul=""), over(uv="HTTP/2")]) == []
    assert live.all() == ()


def test_a_path_that_was_cut_off_is_not_known(live: LiveConnections) -> None:
    live.take([upgraded(p="/" + "x" * 1023)])
    assert [each.upgrade and each.upgrade.path for each in live.all()] == [""]
