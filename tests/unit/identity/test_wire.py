"""What travels between agents and the authority comes out as it went in; what is no message says so."""

from datetime import UTC, datetime, timedelta

import pytest

from hauberk.identity import wire
from hauberk.identity.wire import (
    AgentSubject,
    EntrySubject,
    Holder,
    InvalidMessage,
    IssueReply,
    IssueRequest,
    JoinRequest,
    PodSubject,
    Report,
    Subject,
    TokenReply,
    TokenRequest,
    method_path,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)
POD = PodSubject(namespace="shop", name="web", uid="u")
ENTRY = EntrySubject(name="cron", evidence=(("uid", "1000"), ("path", "/usr/bin/cron")))


def test_methods_have_the_paths_of_the_service() -> None:
    assert method_path(wire.ISSUE) == "/hauberk.identity.v1.Citadel/Issue"


@pytest.mark.parametrize("subject", [POD, ENTRY, AgentSubject()])
@pytest.mark.parametrize("lifetime", [None, timedelta(), timedelta(hours=1), timedelta(seconds=-1)])
def test_a_request_comes_out_as_it_went_in(subject: Subject, lifetime: timedelta | None) -> None:
    request = IssueRequest(csr_der=b"\x00\xff", subject=subject, lifetime=lifetime)
    assert IssueRequest.decode(request.encode()) == request
    token = TokenRequest(subject=subject, audience=("a", "b"), lifetime=lifetime)
    assert TokenRequest.decode(token.encode()) == token


def test_answers_come_out_as_they_went_in() -> None:
    reply = IssueReply(chain_der=(b"leaf", b"issuer"), trust_sequence=2**53, authority_id="issuing-1")
    assert IssueReply.decode(reply.encode()) == reply
    token = TokenReply(token="a.b.c", expires=NOW)
    assert TokenReply.decode(token.encode()) == token
    join = JoinRequest(token="t", node="n", csr_der=b"x")
    assert JoinRequest.decode(join.encode()) == join


def test_a_report_comes_out_as_it_went_in() -> None:
    holders = (
        Holder(subject=POD, sequence=7, serial="0a", authority_id="i", not_after=NOW, problem="p", spiffe_id="spiffe://td/x"),
        Holder(subject=ENTRY),
    )
    report = Report(sequence=7, node_time=NOW, holders=holders)
    assert Report.decode(report.encode()) == report


def test_secrets_are_in_no_repr() -> None:
    assert "s3cret" not in repr(JoinRequest(token="s3cret", node="n", csr_der=b""))
    assert "s3cret" not in repr(TokenReply(token="s3cret", expires=NOW))


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x12\x80"])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        IssueRequest.decode(data)


def test_a_request_that_does_not_say_for_whom_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="for whom"):
        IssueRequest.decode(b"")


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        wire.moment(2**62)


def test_a_life_of_ages_does_not_overflow() -> None:
    request = IssueRequest(csr_der=b"", subject=POD, lifetime=timedelta(days=365 * 2000))
    assert IssueRequest.decode(request.encode()).lifetime == timedelta(days=365 * 200)


def test_times_travel_in_whole_milliseconds() -> None:
    assert wire.moment(wire.milliseconds(NOW)) == NOW
    assert wire.moment(-1) == datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
