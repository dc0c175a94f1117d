"""Who calls whom just now."""

import pytest
from tests.unit.telemetry.lines import INBOUND, OUTBOUND, decoded

from hauberk.telemetry.edges import Edge, Edges


def only(edges: Edges, now: int = 10, window: int = 10) -> Edge:
    (edge,) = edges.edges(now, window)
    return edge


def test_a_request_seen_from_both_sides_is_one_request() -> None:
    edges = Edges()
    for _ in range(20):
        edges.add(decoded(OUTBOUND), 5)
        edges.add(decoded(INBOUND), 5)
    edge = only(edges)
    assert (edge.source, edge.destination, edge.destination_namespace) == ("front", "web", "shop")
    assert (edge.rate, edge.mtls, edge.denied, edge.failed) == (2.0, 1.0, 0.0, 0.0)


def test_denials_are_counted_where_they_are_decided_and_failures_where_they_are_seen() -> None:
    edges = Edges()
    edges.add(decoded(INBOUND, s=403, x="rbac_access_denied_matched_policy[none]"), 5)
    edges.add(decoded(OUTBOUND, s=403), 5)
    edges.add(decoded(OUTBOUND, s=503), 5)
    edge = only(edges)
    assert (edge.denied, edge.failed, edge.rate) == (0.1, 0.1, 0.2)


def test_a_caller_outside_the_mesh_lowers_the_share_of_mutual_tls() -> None:
    edges = Edges()
    edges.add(decoded(INBOUND), 5)
    edges.add(decoded(INBOUND, pi=None), 5)
    assert only(edges).mtls == 0.5


def test_percentiles_are_right_to_an_eighth() -> None:
    edges = Edges()
    for milliseconds in range(1, 101):
        edges.add(decoded(OUTBOUND, us=milliseconds * 1000), 5)
    edge = only(edges)
    assert edge.p50_ms == pytest.approx(50, rel=0.13)
    assert edge.p99_ms == pytest.approx(99, rel=0.13)


def test_only_whole_seconds_of_the_window_count() -> None:
    edges = Edges()
    for second in range(1, 11):
        edges.add(decoded(OUTBOUND), second)
    assert only(edges, now=10, window=3).rate == 1.0
    assert edges.edges(30, 5) == ()


def test_a_minute_is_the_most_that_is_remembered() -> None:
    edges = Edges()
    for second in range(200):
        edges.add(decoded(OUTBOUND), second)
    assert only(edges, now=200, window=999).rate == 1.0
    assert len(edges._seconds) <= 61


def test_the_busiest_edge_comes_first() -> None:
    edges = Edges()
    edges.add(decoded(OUTBOUND), 5)
    for _ in range(3):
        edges.add(decoded(OUTBOUND, c="outbound|80||db.shop.svc.cluster.local"), 5)
    assert [edge.destination for edge in edges.edges(10, 10)] == ["db", "web"]


def test_no_latency_is_too_small_or_too_large() -> None:
    edges = Edges()
    for us in (0, 10**12):
        edges.add(decoded(OUTBOUND, us=us), 5)
    assert only(edges).p50_ms < only(edges).p99_ms
