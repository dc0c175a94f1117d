"""Cases held against a mesh."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.explain.explanation import Answer, Explanation
from hauberk.explain.question import Unanswerable
from hauberk.policytest.case import IMPLICIT, Case, Expectation, Result
from hauberk.policytest.mesh import TestedMesh


def run_case(case: Case, mesh: TestedMesh) -> Result:
    """What became of the case."""
    try:
        explanation = mesh.explain(case.question, trace=False)
        if any(_faults(case, explanation, mesh)):
            explanation = mesh.explain(case.question)
        faults = tuple(_faults(case, explanation, mesh))
    except Unanswerable as error:
        return Result(case=case, error=f"{error}{f' ({error.in_files})' if error.in_files else ''}")
    return Result(case=case, got=told(explanation), faults=faults, explanation=explanation)


def _faults(case: Case, explanation: Explanation, mesh: TestedMesh) -> Iterator[str]:
    yield from _verdict_faults(case, explanation)
    yield from _dry_run_faults(case, explanation, mesh)


def told(explanation: Explanation) -> str:
    """The verdict in one line, and who decided."""
    if not explanation.differs:
        return _told(explanation.answer)
    return "; ".join(f"{_told(each)} at {', '.join(each.workloads)}" for each in explanation.answers)


def _told(answer: Answer) -> str:
    decider = answer.decider
    return f"{answer.word} by {decider.policy}, rule {decider.rule}" if decider else f"{answer.word} ({answer.reason})"


def _verdict_faults(case: Case, explanation: Explanation) -> Iterator[str]:
    wrong = [each for each in explanation.answers if not is_as_expected(case.expect, each)]
    if wrong:
        yield f"expected {case.expect}, got {told(explanation)}"
        return
    for answer in explanation.answers:
        decided = answer.decider.policy if answer.decider else IMPLICIT
        if case.by and decided != case.by:
            wanted = "no rule" if case.by == IMPLICIT else case.by
            yield f"expected {case.expect} by {wanted}, got {_told(answer)}"
            return


def is_as_expected(expect: Expectation, answer: Answer) -> bool:
    """The answer is the one that is expected."""
    return answer.word == expect


def _dry_run_faults(case: Case, explanation: Explanation, mesh: TestedMesh) -> Iterator[str]:
    for policy, expected in case.dry_run.items():
        if not policy:
            tried = explanation.answer.dry_run
            got = tried.verdict if tried else None
            if got != expected:
                yield f"expected dry-run verdict {expected}, got {got or 'none: no dry-run policy applies'}"
            continue
        try:
            verdict = mesh.explain_enforced(case.question, policy).answer.verdict
        except KeyError:
            yield f"expected {expected} with {policy} enforced, but there is no such dry-run policy"
            continue
        if verdict != expected:
            yield f"expected {expected} with {policy} enforced, got {verdict}"
