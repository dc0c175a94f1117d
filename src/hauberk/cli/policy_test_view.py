"""Results of policy tests, for a person, for a program and for continuous integration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from hauberk.cli import explain_view
from hauberk.cli.plain import printable
from hauberk.policytest.case import Result
from hauberk.policytest.junit import junit

Document = dict[str, Any]


def lines(results: Sequence[Result], more: Sequence[Any] = (), *, colors: bool = False, quiet: bool = False) -> Iterator[str]:
    """Every failure with its trace and every note, then the sum; `more` are the answers of real sidecars."""
    for result in results:
        if not result.passed:
            yield from _failure(result, colors=colors)
        elif result.note and not quiet:
            yield f"NOTE  {printable(result.case.place)}  {printable(result.case.name)}: {printable(result.note)}"
    for each in more:
        yield from each.lines(colors=colors)
    if not quiet:
        yield _sum(results, colors=colors)
        yield from more_sum(more, colors=colors)


def _failure(result: Result, *, colors: bool) -> Iterator[str]:
    word = "ERROR" if result.error else "FAIL"
    head = click.style(word, fg="red", bold=True) if colors else word
    yield f"{head}  {printable(result.case.place)}  {printable(result.case.name)}"
    for text in (result.error,) if result.error else result.faults:
        yield f"      {printable(text)}"
    if result.explanation is not None:
        yield "      why:"
        for line in explain_view.lines(result.explanation.to_json(), colors=colors):
            yield f"      {line}".rstrip()
    yield ""


def _sum(results: Sequence[Result], *, colors: bool) -> str:
    failed = sum(not each.passed for each in results)
    milliseconds = sum(each.seconds for each in results) * 1000
    text = f"{len(results) - failed} of {len(results)} tests passed in {milliseconds:.0f} ms"
    return click.style(text, fg="red" if failed else "green") if colors else text


def more_sum(more: Sequence[Any], *, colors: bool) -> Iterator[str]:
    """How many of the requests real sidecars answered as predicted."""
    if not more:
        return
    failed, skipped = sum(not each.passed for each in more), sum(bool(each.skipped) for each in more)
    text = f"{len(more) - failed - skipped} of {len(more)} the same by real sidecars"
    text += f", {skipped} cannot be sent" if skipped else ""
    yield click.style(text, fg="red" if failed else "green") if colors else text


def document(results: Sequence[Result], more: Sequence[Any] = ()) -> Document:
    """The document of `-o json`."""
    failed = sum(not each.passed for each in (*results, *more))
    by_case = {id(each.case): each for each in more}
    return {
        "passed": failed == 0,
        "tests": len(results),
        "failed": sum(not each.passed for each in results),
        "seconds": round(sum(each.seconds for each in results), 6),
        "results": [_result_document(each, by_case.get(id(each.case))) for each in results],
    }


def _result_document(result: Result, live: Any) -> Document:
    case = result.case
    return {
        "name": case.name,
        "file": case.file,
        "line": case.line,
        "passed": result.passed,
        "expected": case.expect.value,
        "got": result.got or None,
        "faults": list(result.faults),
        "error": result.error or None,
        "note": result.note or None,
        "explanation": result.explanation.to_json() if result.explanation is not None and not result.passed else None,
        **({"live": live.to_json()} if live is not None else {}),
    }


def junit_text(results: Sequence[Result], more: Sequence[Any] = ()) -> str:
    """The results as JUnit XML; what real sidecars do differently is a failure of its case."""
    by_case = {id(each.case): each for each in more}
    merged = [_merged(each, by_case.get(id(each.case))) for each in results]
    return junit(merged, ["\n".join(_failure(each, colors=False)) for each in merged])


def _merged(result: Result, live: Any) -> Result:
    if live is None or live.passed:
        return result
    from dataclasses import replace  # noqa: PLC0415 -- rarely needed

    return replace(result, faults=(*result.faults, live.fault))
