"""A mistake inside one object, before it is known in which file and line the object stands."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.api.problem_codes import Severity

Location = tuple[str | int, ...]  # ("spec", "rules", 0, "from"): names and list indexes from the object's root


@dataclass(frozen=True, slots=True)
class Finding:
    """What a kind's `check` says; `code` decides severity and remedy unless `severity` or `remedy` says something more precise."""

    code: str
    at: Location
    message: str
    remedy: str | None = None
    line: int | None = None  # inside the multi-line text at `at`, from 1: a setting inside a ConfigMap's text
    severity: Severity | None = None


def path_text(at: Location) -> str:
    """The location as users read it: spec.rules[0].from, metadata.labels['app.kubernetes.io/name']."""
    text = ""
    for step in at:
        if isinstance(step, int):
            text += f"[{step}]"
        elif "." in step or "/" in step or not step:
            text += f"['{step}']"
        else:
            text += f".{step}" if text else step
    return text
