from datetime import UTC, datetime

from hauberk.identity.event import LONGEST, Event, EventKind


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


def test_whatever_somebody_asked_for_a_line_stays_short() -> None:
    flood = "x" * 60_000
    event = Event(
        time=datetime.now(UTC),
        kind=EventKind.REFUSED,
        subject=flood,
        outcome=flood,
        by=flood,
        evidence={flood: flood, "audience": (flood,) * 1000, "number": 7, "few": ("a", "b")},
    )
    document = event.to_document()
    assert len(str(document)) < 16 * 1024
    assert document["subject"] == "x" * LONGEST + "… (60000 characters)"
    assert document["evidence"]["audience"][-1] == "… (1000 in all)"
    assert (document["evidence"]["number"], document["evidence"]["few"]) == (7, ("a", "b"))


def test_the_longest_identity_of_a_service_account_is_not_cut() -> None:
    longest = f"spiffe://{'t' * 255}/ns/{'n' * 63}/sa/{'s' * 253}"
    event = Event(time=datetime.now(UTC), kind=EventKind.ISSUED, subject=longest, outcome="issued")
    assert event.to_document()["subject"] == longest


def test_kinds_have_names_of_their_own() -> None:
    assert len({kind.value for kind in EventKind}) == len(EventKind)
