"""An explanation for a person: the verdict and its reason first, then what could be changed, then every layer and policy."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from hauberk.cli.plain import printable

Document = dict[str, Any]
_WIDEST = 100
_TINTS = {"deny": "red", "allow": "green", "pass": "green", "unknown": "yellow", "matched": "cyan"}
_MARKS = {"pass": "✓", "deny": "✗", "unknown": "?", "none": "·", "skipped": "·"}


def lines(answer: Document, *, colors: bool = False, wide: bool = False, width: int | None = None) -> Iterator[str]:
    """The lines of an answer as the API gives it; `wide` shows also what concerns nothing."""
    painter = _Painter(colors, min(width or shutil.get_terminal_size().columns, _WIDEST))
    yield from _head(answer, painter, wide=wide)
    yield ""
    yield from _layers(answer, painter, wide=wide)
    if answer.get("policies"):
        yield ""
        for policy in answer["policies"]:
            yield from _policy(policy, painter)
    yield from _rest(answer, painter)


class _Painter:
    def __init__(self, colors: bool, width: int) -> None:
        self.colors = colors
        self.width = max(width, 40)

    def tint(self, text: str, meaning: str, *, bold: bool = False) -> str:
        """The text in the colour of what it means."""
        return click.style(text, fg=_TINTS.get(meaning), bold=bold) if self.colors else text

    def faint(self, text: str) -> str:
        return click.style(text, dim=True) if self.colors else text

    def wrapped(self, text: str, lead: str, indent: int) -> Iterator[str]:
        """`lead` and the text, its further lines indented."""
        room = self.width - indent
        found = textwrap.wrap(printable(text), room, break_on_hyphens=False) or [""]
        yield f"{lead}{found[0]}"
        for each in found[1:]:
            yield " " * indent + each


def _head(answer: Document, painter: _Painter, *, wide: bool) -> Iterator[str]:
    verdict = str(answer["verdict"])
    status = f" {answer['status']}" if answer.get("status") else ""
    word = f"{verdict.upper()}{status}"
    lead = painter.tint(word, verdict, bold=True) + "  "
    yield from painter.wrapped(str(answer["reason"]), lead, len(word) + 2)
    # How to refuse what is let through is what few ask.
    for number, change in enumerate(answer.get("smallestChange") or () if verdict == "deny" or wide else ()):
        first = "smallest change: " if number == 0 else "           …or: "
        yield from painter.wrapped(change, f"   {painter.faint(first)}", 3 + len(first))
    tried = answer.get("dryRun")
    if tried and (wide or _would_differ(answer, tried)):
        text = f"with the dry-run policies enforced: {tried['verdict']}{_by(tried)}"
        yield from painter.wrapped(text, f"   {painter.faint('dry run: ')}", 12)


def _would_differ(answer: Document, tried: Document) -> bool:
    """Another verdict, or by another rule."""
    decided = answer.get("decidedBy") or {}
    enforced = (answer["verdict"], decided.get("policy"), decided.get("rule"))
    return enforced != (tried["verdict"], tried.get("policy"), tried.get("rule"))


def _by(tried: Document) -> str:
    if tried.get("policy"):
        return f" by {tried['policy']}, rule {tried['rule']}"
    return f": {tried['reason']}" if tried.get("reason") else ""


def _layers(answer: Document, painter: _Painter, *, wide: bool) -> Iterator[str]:
    for layer in answer["layers"]:
        outcome = str(layer["outcome"])
        if outcome in ("none", "skipped") and not wide:
            continue
        lead = f" {painter.tint(_MARKS.get(outcome, ' '), outcome)} {layer['name']:<14}"
        yield from painter.wrapped(str(layer["because"]), lead, 17)


def _policy(policy: Document, painter: _Painter) -> Iterator[str]:
    matched = policy["matched"]
    nothing = "no rule matches" if policy.get("rules") else "has no rules, so it matches nothing"
    result = {True: "matched", False: nothing, None: "unknown"}[matched]
    tried = " (dry run)" if policy.get("dryRun") else ""
    place = f"  {_place(policy)}" if policy.get("file") else ""
    told = painter.tint(result, "matched" if matched else "unknown" if matched is None else "")
    yield f" {policy['action']:<6} {policy['policy']}{tried}: {told}{painter.faint(place)}"
    for rule in policy.get("rules", ()):
        yield from _rule(rule, painter)


def _rule(rule: Document, painter: _Painter) -> Iterator[str]:
    lead = f"    rule {rule['rule']}  "
    note = f" ({rule['note']})" if rule.get("note") else ""
    if rule["outcome"] not in ("failed", "unknown") or not rule["failed"]:
        place = f"  {_place(rule)}" if rule.get("file") else ""
        yield f"{lead}{painter.tint(rule['outcome'], rule['outcome'])}{note}{painter.faint(place)}"
        return
    for number, clause in enumerate(rule["failed"]):
        place = _place(clause) if clause.get("file") else ""
        text = f"{clause['text']}{note if not number else ''}{f'  {place}' if place else ''}"
        yield from painter.wrapped(text, lead if number == 0 else " " * len(lead), len(lead))


def _place(found: Document) -> str:
    return f"{found['file']}:{found['line']}"


def _rest(answer: Document, painter: _Painter) -> Iterator[str]:
    workloads = answer.get("workloads") or ()
    if len({each["verdict"] for each in workloads}) > 1:
        yield ""
        yield from painter.wrapped("the workloads behind the service differ, so a caller may get either answer:", " ! ", 3)
        for each in workloads:
            text = f"{each['verdict']}: {', '.join(each['pods'])} ({each['reason']})"
            yield from painter.wrapped(text, "   ", 5)
    for warning in answer.get("warnings") or ():
        yield from painter.wrapped(warning, f" {painter.tint('!', 'unknown')} ", 3)
    if answer.get("objectsAt"):
        yield from painter.wrapped(f"with the objects as they were at {answer['objectsAt']}", "   ", 3)
