"""What the sidecars hold: a prediction is one only for those that have taken all that they were told.

Of a sidecar that has refused a part of its configuration, or has not answered yet, it is known what it should do and not what it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from hauberk.explain.explanation import Answer, Explanation, Outcome

PENDING: Final = "has not acknowledged yet what it was told"
_AWAY: Final = "is not connected to the control plane"
_BEFORE: Final = frozenset({"route", "interception"})  # layers that the sidecar at the end has no part in
_STRICTEST: Final = ("deny", "unknown", "allow")
_MOST_NAMED: Final = 3


def doubts_of(found: Explanation, proxies: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """Why it is not known what the sidecars of the called workloads do, by pod; `proxies` as the status of the mesh shows them."""
    called = {(each["namespace"], each["pod"]) for each in found.route.get("workloads", ())}
    whys = {str(each["pod"]): _why(each) for each in proxies if (each.get("namespace"), each.get("pod")) in called}
    return {pod: why for pod, why in whys.items() if why}


def _why(proxy: Mapping[str, Any]) -> str:
    if refused := proxy.get("rejected"):
        return f"has refused {refused[0]['resource']}: {refused[0]['message']}"
    if not proxy.get("connected", True):
        return _AWAY
    return "" if proxy.get("synced", True) else PENDING


def doubted(found: Explanation, doubts: Mapping[str, str]) -> Explanation:
    """`found`, with `unknown` for the workloads of which `doubts` speaks."""
    if not doubts:
        return found
    answers = sorted((part for each in found.answers for part in _parts(each, doubts)), key=lambda each: _STRICTEST.index(each.verdict))
    return replace(found, answers=tuple(answers), warnings=(*found.warnings, *_warnings(doubts)))


def _parts(answer: Answer, doubts: Mapping[str, str]) -> Iterator[Answer]:
    gets_there = all(each.outcome is not Outcome.DENY for each in answer.layers if each.name in _BEFORE)
    uncertain = tuple(pod for pod in answer.workloads if pod in doubts and gets_there)
    certain = tuple(pod for pod in answer.workloads if pod not in uncertain)
    if certain or not uncertain:
        yield replace(answer, workloads=certain)
    if uncertain:
        yield _unknown(replace(answer, workloads=uncertain), doubts[uncertain[0]])


def _unknown(answer: Answer, why: str) -> Answer:
    status = f" {answer.status}" if answer.status else ""
    reason = f"policy says {answer.verdict}{status} ({answer.reason}), but the sidecar {why}"
    layers = tuple(
        replace(each, outcome=Outcome.UNKNOWN) if each.name not in _BEFORE and each.outcome in (Outcome.PASS, Outcome.DENY) else each
        for each in answer.layers
    )
    return replace(answer, verdict="unknown", status=None, reason=reason, layers=layers)


def _warnings(doubts: Mapping[str, str]) -> Iterator[str]:
    for why in dict.fromkeys(doubts.values()):
        pods = [pod for pod, each in doubts.items() if each == why]
        named = ", ".join(pods[:_MOST_NAMED]) + (f" and {len(pods) - _MOST_NAMED} more" if len(pods) > _MOST_NAMED else "")
        yield f"the sidecar of {named} {why}; it may decide by what it held before (`hauberk status`)"
