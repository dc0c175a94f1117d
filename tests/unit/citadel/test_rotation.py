"""The machine that exchanges roots, without keys, agents or time: what it does next and for whom it waits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hauberk.citadel.rotation import Facts, NotAbortable, Step, Waiting, aborted, after, next_step
from hauberk.citadel.state_issued import IssuedRow
from hauberk.citadel.state_progress import Progress, Stage
from hauberk.identity.wire import AgentSubject, Holder, PodSubject, Report, Subject

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WEB = PodSubject(namespace="shop", name="web", uid="u-1")
PROGRESS = Progress(stage=Stage.DISTRIBUTE, new="b", old="a", since=10, started=NOW, entered=NOW)
RENEWING = replace(PROGRESS, stage=Stage.RENEW)
LEAVING = frozenset({"a1"})


def holder(sequence: int = 10, authority: str = "a1", serial: str = "01", subject: Subject = WEB) -> Holder:
    return Holder(subject=subject, sequence=sequence, serial=serial, authority_id=authority)


def report(*holders: Holder, sequence: int = 10) -> Report:
    return Report(sequence=sequence, node_time=NOW, holders=holders)


def row(name: str = "pod shop/web u-1", node: str = "n1", serial: str = "01") -> IssuedRow:
    life = timedelta(hours=1)
    return IssuedRow(
        serial=serial, spiffe_id="spiffe://td/x", holder=name, node=node, authority_id="a1", not_before=NOW, not_after=NOW + life
    )


def facts(living: tuple[IssuedRow, ...] = (), expected: tuple[str, ...] = (), **reports: Report) -> Facts:
    return Facts(reports=reports, expected=dict.fromkeys(expected, NOW), living=living, leaving=LEAVING)


def whom(decided: object) -> str:
    assert isinstance(decided, Waiting)
    return " | ".join(decided.whom)


def test_without_any_machine_nobody_is_waited_for() -> None:
    assert next_step(PROGRESS, facts()) is Step.SWITCH


def test_the_new_root_signs_when_every_agent_and_every_proxy_has_it() -> None:
    assert next_step(PROGRESS, facts(n1=report(holder()), n2=report())) is Step.SWITCH


def test_an_agent_that_has_not_confirmed_is_named() -> None:
    assert whom(next_step(PROGRESS, facts(n1=report(), n2=report(sequence=9)))) == "node n2: its agent has not confirmed"


def test_a_machine_whose_certificates_live_is_waited_for_though_it_is_not_connected() -> None:
    assert "node n3: its agent is not connected" in whom(next_step(PROGRESS, facts(expected=("n3",), n1=report())))


def test_a_proxy_that_has_not_acknowledged_is_named() -> None:
    decided = next_step(PROGRESS, facts(n1=report(replace(holder(sequence=9), problem="its Envoy hangs"))))
    assert whom(decided) == "pod shop/web on node n1: its proxy or one of its programs has not confirmed (its Envoy hangs)"


def test_a_pod_that_has_no_certificate_yet_is_not_waited_for() -> None:
    assert next_step(PROGRESS, facts(n1=report(holder(sequence=0, serial="", authority="")))) is Step.SWITCH


def test_the_old_root_goes_when_nothing_below_it_is_held() -> None:
    assert next_step(RENEWING, facts((row(),), n1=report(holder(authority="b1", serial="02")))) is Step.RETIRE


def test_who_holds_an_old_certificate_is_named_by_his_agent() -> None:
    assert whom(next_step(RENEWING, facts((row(),), n1=report(holder())))) == "pod shop/web on node n1 holds 01"


def test_a_certificate_that_may_still_be_on_its_way_is_waited_for() -> None:
    starting = holder(sequence=0, serial="", authority="")
    assert "pod shop/web u-1 holds 01" in whom(next_step(RENEWING, facts((row(),), n1=report(starting))))


def test_a_pod_that_has_ended_took_its_key_with_it() -> None:
    assert next_step(RENEWING, facts((row(),), n1=report())) is Step.RETIRE


def test_an_agent_cannot_have_ended_and_must_have_a_new_certificate_itself() -> None:
    decided = next_step(RENEWING, facts((row("agent n1"),), n1=report()))
    assert "agent n1 holds 01" in whom(decided)
    renewed = holder(authority="b1", serial="02", subject=AgentSubject())
    assert next_step(RENEWING, facts((row("agent n1"),), n1=report(renewed))) is Step.RETIRE


def test_what_no_agent_answers_for_is_waited_for_until_it_expires() -> None:
    decided = next_step(RENEWING, facts((row("outside anna", node=""),), n1=report()))
    assert "outside anna holds 01 until 2026-03-01 01:00:00 UTC" in whom(decided)
    assert next_step(RENEWING, facts((), n1=report())) is Step.RETIRE


def test_an_agent_that_has_not_heard_of_the_change_answers_for_nothing() -> None:
    decided = next_step(RENEWING, facts((row(),), n1=report(holder(authority="b1", serial="02"), sequence=9)))
    assert whom(decided) == "node n1: its agent has not confirmed"


def test_it_is_over_when_nobody_trusts_the_old_root() -> None:
    confirming = replace(PROGRESS, stage=Stage.CONFIRM)
    assert "n2" in whom(next_step(confirming, facts(n1=report(), n2=report(sequence=3))))
    assert next_step(confirming, facts(n1=report())) is Step.FINISH
    done = after(confirming, Step.FINISH, 12, NOW)
    assert (done.stage, next_step(done, facts())) == (Stage.DONE, None)


def test_each_step_waits_for_the_trust_that_tells_of_it() -> None:
    switched = after(PROGRESS, Step.SWITCH, 11, NOW + timedelta(seconds=1))
    assert (switched.stage, switched.since, switched.entered) == (Stage.RENEW, 11, NOW + timedelta(seconds=1))
    assert after(switched, Step.RETIRE, 12, NOW).stage is Stage.CONFIRM


@pytest.mark.parametrize("stage", [Stage.DISTRIBUTE, Stage.RENEW])
def test_going_back_is_the_same_machine_with_the_roots_exchanged(stage: Stage) -> None:
    back = aborted(replace(PROGRESS, stage=stage))
    assert (back.new, back.old, back.aborting) == ("a", "b", True)


@pytest.mark.parametrize(
    ("progress", "reason"),
    [
        (None, "no exchange"),
        (replace(PROGRESS, stage=Stage.DONE), "no exchange"),
        (replace(PROGRESS, stage=Stage.CONFIRM), "withdrawn"),
        (replace(PROGRESS, aborting=True), "going back already"),
    ],
)
def test_what_cannot_go_back_says_why(progress: Progress | None, reason: str) -> None:
    with pytest.raises(NotAbortable, match=reason):
        aborted(progress)
