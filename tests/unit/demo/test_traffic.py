"""Who calls whom, out of access records."""

from typing import Any

from hauberk.demo.traffic import Traffic


def _record(
    reporter: str = "source", *, caller: str | None = "frontend", status: int = 200, verdict: str = "allow", ms: float = 2.0
) -> dict[str, Any]:
    return {
        "source": {"identity": f"spiffe://cluster.local/ns/shop/sa/{caller}" if caller else None, "address": "10.244.0.9"},
        "destination": {"service": "catalog.shop.svc.cluster.local", "port": 80},
        "protocol": "http",
        "status": status,
        "durationMs": ms,
        "mtls": {"version": "TLSv1.3"} if caller else None,
        "decision": {"verdict": verdict, "policy": "shop/no" if verdict == "deny" else None},
        "reporter": reporter,
    }


def test_a_request_that_both_sides_report_counts_once() -> None:
    traffic = Traffic()
    traffic.add(_record("source"), 1.0)
    traffic.add(_record("destination"), 1.0)
    assert traffic.total == 1


def test_an_edge_has_rate_latency_and_tls() -> None:
    traffic = Traffic(window=10)
    for at in range(20):
        traffic.add(_record(ms=float(at)), at / 2)
    (edge,) = traffic.edges(10.0)
    assert (edge.source, edge.destination, edge.tls) == ("frontend", "catalog", "TLSv1.3")
    assert (edge.rate, edge.median, edge.slowest) == (2.0, 10.0, 19.0)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    traffic = Traffic(window=10)
    traffic.add(_record(), 0.0)
    assert traffic.edges(11.0) == []
    assert traffic.total == 1


def test_a_denied_request_is_counted_as_denied_and_kept() -> None:
    traffic = Traffic()
    traffic.add(_record(status=403), 1.0)
    traffic.add(_record("destination", status=403, verdict="deny"), 1.0)
    (edge,) = traffic.edges(1.0)
    assert (edge.denied, edge.failed, traffic.denied_total) == (1, 0, 1)
    assert traffic.denials()[0]["decision"]["policy"] == "shop/no"


def test_a_caller_without_identity_is_reported_by_the_destination_alone() -> None:
    traffic = Traffic()
    traffic.add(_record("destination", caller=None, status=0), 1.0)
    (edge,) = traffic.edges(1.0)
    assert (edge.source, edge.denied, edge.tls) == ("(no identity)", 1, "none")
