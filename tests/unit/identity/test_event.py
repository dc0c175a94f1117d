from datetime import UTC, datetime

from hauberk.identity.event import Event, EventKind


def test_a_line_of_the_ledger_leaves_out_what_is_empty() -> None:
    time = datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=UTC)
    event = Event(time=time, kind=EventKind.ISSUED, subject="spiffe://td/x", outcome="issued")
    assert event.to_document() == {
        "time": "2026-03-01T12:00:00.005+00:00",
        "kind": "certificate-issued",
        "subject": "spiffe://td/x",
        "outcome": "issued",
    }


def test_the_evidence_is_kept() -> None:
    event = Event(
        time=datetime.now(UTC), kind=EventKind.REFUSED, subject="x", outcome="no", by="node n", evidence={"a": 1, "b": ("x", "y")}
    )
    document = event.to_document()
    assert (document["by"], document["evidence"]) == ("node n", {"a": 1, "b": ("x", "y")})


def test_kinds_have_names_of_their_own() -> None:
    assert len({kind.value for kind in EventKind}) == len(EventKind)
