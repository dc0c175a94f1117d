"""How one root takes the place of another, as a pure machine: `next_step(progress, facts)` is what to do now, or who is waited for.

    distribute ──all trust the new root──> SWITCH ──> renew ──nothing old lives──> RETIRE ──> confirm ──nobody trusts the old──> FINISH

Every arrow is gated on proof: what agents report that they and their proxies hold, beside what the ledger knows was issued. A change
and the stage after it are written in one transaction, so whoever is killed anywhere finds either before or after. Going back is the
same machine with the two roots exchanged, from `renew` on: the old root was never withdrawn, so nobody must be told of it first.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from hauberk.citadel.state_issued import IssuedRow
from hauberk.citadel.state_progress import Progress, Stage
from hauberk.identity.wire import AgentSubject, EntrySubject, Holder, PodSubject, Report, Subject

# Who uses what a subject holds; an agent reports one holder for a pod's proxy, and one for its programs if they listen.
_USERS: Final = {PodSubject: "its proxy or one of its programs has", EntrySubject: "one of its programs has", AgentSubject: "it has"}


class NotAbortable(RuntimeError):
    """There is no exchange of roots, or it has gone too far to go back; the message says which."""


class Step(StrEnum):
    """A change of the slots that is due now."""

    SWITCH = "switch"
    RETIRE = "retire"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing can be done yet. `what` is missing from each of `whom`, who are named as people know them."""

    what: str
    whom: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known. `reports`: the last of each agent that is connected; `expected`: machines whose certificates live, until when.

    `living`: certificates below the root that is leaving which the ledger holds to be valid; `leaving`: the authorities that signed
    them. Banned machines are in none of it.
    """

    reports: Mapping[str, Report]
    expected: Mapping[str, datetime]
    living: tuple[IssuedRow, ...] = ()
    leaving: frozenset[str] = frozenset()


def next_step(progress: Progress, facts: Facts) -> Step | Waiting | None:
    """What is to be done now, or who is waited for; None when it is all over."""
    match progress.stage:
        case Stage.DISTRIBUTE:
            return _waiting("to trust the new root", unconfirmed(progress.since, facts)) or Step.SWITCH
        case Stage.RENEW:
            silent = tuple(unconfirmed_agents(progress.since, facts))
            return _waiting("to give up the old root's certificates", (*silent, *survivors(progress.since, facts))) or Step.RETIRE
        case Stage.CONFIRM:
            return _waiting("to forget the old root", unconfirmed(progress.since, facts)) or Step.FINISH
        case Stage.DONE:
            return None
        case _:
            assert_never(progress.stage)


def after(progress: Progress, step: Step, sequence: int, now: datetime) -> Progress:
    """How far it has come once `step` is done and Trust `sequence` says so to everybody."""
    stage = {Step.SWITCH: Stage.RENEW, Step.RETIRE: Stage.CONFIRM, Step.FINISH: Stage.DONE}[step]
    return replace(progress, stage=stage, since=sequence, entered=now)


def aborted(progress: Progress | None) -> Progress:
    """The way back; the step that begins it is SWITCH. Raises NotAbortable."""
    if progress is None or progress.stage is Stage.DONE:
        raise NotAbortable("no exchange of the root is going on")
    if progress.aborting:
        raise NotAbortable("it is going back already")
    if progress.stage is Stage.CONFIRM:
        raise NotAbortable(
            "the old root has been withdrawn: some machines do not trust it any more; begin another exchange when it is done"
        )
    return replace(progress, new=progress.old, old=progress.new, aborting=True)


def unconfirmed_agents(since: int, facts: Facts) -> Iterator[str]:
    """Machines whose agents have not said that they hold the Trust of `since` or a later one."""
    for node in sorted({*facts.reports, *facts.expected}):
        report = facts.reports.get(node)
        if report is None:
            yield f"node {node}: its agent is not connected (its certificates live until {facts.expected[node]:%Y-%m-%d %H:%M:%S} UTC)"
        elif report.sequence < since:
            yield f"node {node}: its agent has not confirmed"


def unconfirmed(since: int, facts: Facts) -> tuple[str, ...]:
    """The same, and the proxies and programs on machines that have confirmed which have not."""
    users = (
        f"{named(holder.subject)} on node {node}: {_USERS[type(holder.subject)]} not confirmed"
        + (f" ({holder.problem})" if holder.problem else "")
        for node, report in sorted(facts.reports.items())
        for holder in report.holders
        # One that has no certificate yet gets the newest Trust with its first.
        if report.sequence >= since and holder.serial and holder.sequence < since
    )
    return (*unconfirmed_agents(since, facts), *users)


def survivors(since: int, facts: Facts) -> tuple[str, ...]:
    """Who holds what the leaving authorities have signed: by his agent's word, or by the ledger where no agent answers for it."""
    heard = {node: report for node, report in facts.reports.items() if report.sequence >= since}
    told = {
        f"{named(holder.subject)} on node {node} holds {holder.serial}" + (f" ({holder.problem})" if holder.problem else "")
        for node, report in heard.items()
        for holder in report.holders
        if holder.authority_id in facts.leaving
    }
    known = {
        f"{row.holder} holds {row.serial} until {row.not_after:%Y-%m-%d %H:%M:%S} UTC"
        for row in facts.living
        if not _is_answered_for(row, heard, facts)
    }
    return (*sorted(told), *sorted(known))


def holder_name(subject: Subject, node: str) -> str:
    """How `issued` names who holds a certificate."""
    match subject:
        case PodSubject():
            return f"pod {subject.namespace}/{subject.name} {subject.uid}"
        case EntrySubject():
            return f"entry {subject.name}"
        case AgentSubject():
            return f"agent {node}"
        case _:
            assert_never(subject)


def named(subject: Subject) -> str:
    """How people name who holds a certificate."""
    match subject:
        case PodSubject():
            return f"pod {subject.namespace}/{subject.name}"
        case EntrySubject():
            return f"entry {subject.name}"
        case AgentSubject():
            return "agent"
        case _:
            assert_never(subject)


def _is_answered_for(row: IssuedRow, heard: Mapping[str, Report], facts: Facts) -> bool:
    """Whether an agent's word stands for what the ledger knows: it is not used any more, or who uses it is named already."""
    if row.node not in facts.reports:
        return False
    report = heard.get(row.node)
    # An agent that has not heard of the change is itself waited for.
    return report is None or any(holder.serial == row.serial for holder in report.holders) or _is_replaced(row, report, facts.leaving)


def _is_replaced(row: IssuedRow, report: Report, leaving: frozenset[str]) -> bool:
    """Whether its holder does not use it any more, and it is not still on its way to him.

    A holder asks for one certificate after another, so one that has a newer authority's cannot yet be given an older one. One that is
    listed without any may be: its first may be on its way.
    """
    holders = tuple(_holders(row, report))
    if not holders:
        # What its agent does not list has ended, and its key with it; only of itself an agent cannot say that.
        return not row.holder.startswith("agent ")
    return all(holder.serial and holder.authority_id not in leaving for holder in holders)


def _holders(row: IssuedRow, report: Report) -> Iterable[Holder]:
    return (holder for holder in report.holders if holder_name(holder.subject, row.node) == row.holder)


def _waiting(what: str, whom: tuple[str, ...]) -> Waiting | None:
    return Waiting(what, whom) if whom else None
