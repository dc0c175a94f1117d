"""The normal form of policies: every field, condition and value as a question about one attribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hauberk.api.authorization_policy import Action
from hauberk.api.metadata import ObjectKey
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.identifier import RuleId
from hauberk.policy.pattern import Pattern


@dataclass(frozen=True, slots=True)
class Question:
    """Holds if the attribute is one of `patterns`; `negated`: if it is none of them, also because it is absent.

    `path` is where it is written (`spec.rules[0].from[1].source.notPrincipals`), `values` are the texts there.
    """

    attribute: Attribute
    patterns: tuple[Pattern, ...]
    negated: bool
    path: str
    values: tuple[str, ...]


Alternative = tuple[Question, ...]  # all must hold


@dataclass(frozen=True, slots=True)
class NormalRule:
    """Matches if one of `sources`, one of `operations` and all of `conditions` hold.

    No source at all means everyone, no operation everything; an alternative without questions always holds.
    """

    id: RuleId
    sources: tuple[Alternative, ...]
    operations: tuple[Alternative, ...]
    conditions: tuple[Question, ...]

    @property
    def needs_http(self) -> bool:
        """Some question is about something that exists only in HTTP requests."""
        alternatives = (*self.sources, *self.operations, self.conditions)
        return any(question.attribute.http_only for each in alternatives for question in each)

    def for_connections(self, action: Action) -> NormalRule | None:
        """The rule on TCP, as Istio has it: ALLOW that asks about HTTP never matches (None); any other action does not ask that.

        So a DENY gets wider: what cannot be seen cannot be excluded.
        """
        if not self.needs_http:
            return self
        return None if action is Action.ALLOW else self._where(lambda question: not question.attribute.http_only)

    def without(self, *kinds: Kind) -> NormalRule:
        """The rule without its questions about `kinds`: as wide or wider."""
        return self._where(lambda question: question.attribute.kind not in kinds)

    def _where(self, keep: Callable[[Question], bool]) -> NormalRule:
        def kept(alternative: Alternative) -> Alternative:
            return tuple(filter(keep, alternative))

        sources, operations = tuple(map(kept, self.sources)), tuple(map(kept, self.operations))
        return replace(self, sources=sources, operations=operations, conditions=kept(self.conditions))


@dataclass(frozen=True, slots=True)
class NormalPolicy:
    """One AuthorizationPolicy; `dry_run`: it is never enforced; `provider`: who is asked (CUSTOM)."""

    key: ObjectKey
    action: Action
    dry_run: bool
    provider: str | None
    rules: tuple[NormalRule, ...]
