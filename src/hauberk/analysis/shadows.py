"""Rules that others make superfluous: covered by one of the same action, or by a denial that comes first; and repeated policies."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from hauberk.analysis.remark import Remark
from hauberk.analysis.rule_cover import Shape, required, rule_covers, samples, shape
from hauberk.analysis.world import World
from hauberk.api.authorization_policy import Action, AuthorizationPolicy
from hauberk.api.finding import Finding
from hauberk.api.metadata import ObjectKey
from hauberk.api.selector import has_labels
from hauberk.policy.attribute import Kind
from hauberk.policy.rule import NormalPolicy, NormalRule

MOST_COMPARISONS = 300_000  # of one analysis; beyond it rules stay uncompared rather than the reader waiting


@dataclass(frozen=True, slots=True)
class _Entry:
    """A rule with what has to be known of it to compare it."""

    policy: AuthorizationPolicy
    normal: NormalPolicy
    rule: NormalRule
    shape: Shape
    order: tuple[str, str, str, int]  # the later of two that are equal is the superfluous one

    @property
    def name(self) -> str:
        metadata = self.policy.metadata
        return f"rule {self.rule.id.rule} of {metadata.namespace}/{metadata.name}"


class _Index:
    """The rules of one namespace and action, found by a text that they must mean to cover another."""

    def __init__(self) -> None:
        self.anything: list[_Entry] = []
        self.by_text: dict[tuple[Kind, str], list[_Entry]] = {}

    def add(self, entry: _Entry) -> None:
        for kind in (Kind.IDENTITY, Kind.PATH, Kind.HOST):
            texts = required(entry.rule, kind)
            if texts is not None:
                for text in texts:
                    self.by_text.setdefault((kind, text), []).append(entry)
                return
        self.anything.append(entry)

    def candidates(self, narrow: _Entry) -> Iterator[_Entry]:
        yield from self.anything
        for sample in samples(narrow.rule):
            yield from self.by_text.get(sample, ())


Place = tuple[str, Action]


def shadows(world: World) -> Iterator[Remark]:
    """Every superfluous rule and policy of the world."""
    entries = [entry for policies in world.policies_of.values() for policy in policies for entry in _entries(policy, world)]
    repeated = yield from _repeated(world)
    indexes: dict[Place, _Index] = {}
    for entry in entries:
        if entry.policy.key not in repeated:
            indexes.setdefault((entry.policy.metadata.namespace, entry.normal.action), _Index()).add(entry)
    left = MOST_COMPARISONS
    for narrow in entries:
        if narrow.policy.key in repeated:
            continue
        for wide, code in _wider(narrow, indexes, world.root_namespace):
            left -= 1
            if wide.shape.needed <= narrow.shape.asked and _acts_for(wide, narrow) and rule_covers(wide.rule, narrow.rule):
                yield _remark(code, narrow, wide)
                break
            if left <= 0:
                return


def _entries(policy: AuthorizationPolicy, world: World) -> Iterator[_Entry]:
    normal, metadata = world.normal(policy), policy.metadata
    age = metadata.creation_timestamp.isoformat() if metadata.creation_timestamp else "~"
    for rule in normal.rules:
        yield _Entry(policy, normal, rule, shape(rule), (age, metadata.namespace, metadata.name, rule.id.rule))


def _wider(narrow: _Entry, indexes: Mapping[Place, _Index], root: str) -> Iterator[tuple[_Entry, str]]:
    """Rules that may cover `narrow`, with what is to be said then."""
    action = narrow.normal.action
    for namespace in dict.fromkeys((narrow.policy.metadata.namespace, root)):
        found = [(action, "HBK0340")] + ([(Action.DENY, "HBK0341")] if action is Action.ALLOW else [])
        for other, code in found:
            index = indexes.get((namespace, other))
            if index is not None:
                yield from ((each, code) for each in index.candidates(narrow) if each is not narrow)


def _acts_for(wide: _Entry, narrow: _Entry) -> bool:
    """Wherever the policy of `narrow` acts, that of `wide` does."""
    one, other = narrow.normal, wide.normal
    if other.dry_run and not one.dry_run:
        return False
    if one.action is other.action:
        if one.provider != other.provider or one.dry_run != other.dry_run:
            return False
        if narrow.order < wide.order and rule_covers(narrow.rule, wide.rule) and _selects(narrow, wide):
            return False  # equal: only the later one is superfluous
    return _selects(wide, narrow)


def _selects(wide: _Entry, narrow: _Entry) -> bool:
    return has_labels(narrow.policy.spec.selector.match_labels, wide.policy.spec.selector.match_labels)


def _remark(code: str, narrow: _Entry, wide: _Entry) -> Remark:
    at = ("spec", "rules", narrow.rule.id.rule)
    if code == "HBK0341":
        message = f"whatever this rule allows is denied by {wide.name}"
    else:
        message = f"whatever this rule matches is matched by {wide.name} already"
    return Remark(narrow.policy.key, Finding(code, at, message), wide.policy.key)


def _repeated(world: World) -> Generator[Remark, None, set[ObjectKey]]:
    """Policies that say what another of their namespace says; the result of the iteration is their keys."""
    seen: dict[tuple[str, bool, str], AuthorizationPolicy] = {}
    repeated: set[ObjectKey] = set()
    for policies in world.policies_of.values():
        for policy in sorted(policies, key=lambda each: (each.metadata.creation_timestamp is None, str(each.metadata.creation_timestamp))):
            said = (policy.metadata.namespace, policy.dry_run, policy.spec.model_dump_json())
            first = seen.setdefault(said, policy)
            if first is not policy:
                repeated.add(policy.key)
                message = f"{first.metadata.namespace}/{first.metadata.name} says the same of the same workloads"
                yield Remark(policy.key, Finding("HBK0342", ("spec",), message), first.key)
    return repeated
