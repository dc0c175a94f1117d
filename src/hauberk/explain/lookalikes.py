"""Headers that do not reach the program, because it may take them for those by which policies decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hauberk.api.authorization_rule import Action
from hauberk.explain.rulesets import questions_about
from hauberk.policy.attribute import Kind
from hauberk.policy.ruleset import Ruleset

_HEADERS: Final = frozenset({Kind.HEADER})


def taken_away(ruleset: Ruleset, headers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those of `headers` that the sidecar takes away, each with the one that it looks like."""
    asked = _asked(ruleset)
    alike = {_folded(name): name for name in sorted(asked)}
    return ((name, alike[_folded(name)]) for name in headers if name not in asked and _folded(name) in alike)


def _asked(ruleset: Ruleset) -> frozenset[str]:
    """Headers that something asks about that is not only watched or tried."""
    enforced = (each for each in ruleset.policies if each.action is not Action.AUDIT and not each.dry_run)
    questions = (question for policy in enforced for rule in policy.rules for question in questions_about(rule, _HEADERS))
    limited = (each for each in ruleset.limited if each.kind is Kind.HEADER)
    return frozenset(each.key[0] for each in (*(question.attribute for question in questions), *limited))


def _folded(name: str) -> str:
    return name.replace("_", "-")
