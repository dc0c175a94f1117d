"""Decision trees and lists of clauses as Envoy's matchers.

Where many clauses name values of one attribute, the attribute is looked up once, and in the branch of a value only those are asked
that may hold there (partial evaluation). Envoy goes on behind a branch in which nothing matched. Every clause that must be asked before
the last one of a branch is in the branch too, so that the first in order is found, also where several hold.

A tree is made only where it stays of the size of what was written. A large set of values that would have been repeated is looked up
where its clause stands.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from operator import itemgetter
from typing import Final

from envoy.config.rbac.v3 import rbac_pb2
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2

from hauberk.envoy.message import any_
from hauberk.translate.matching_clause import Ask, Clause, Factor, Outcome, answered
from hauberk.translate.matching_predicate import Predicate, always, predicate_of
from hauberk.translate.matching_split import ExactSplit, Split, splits_of

Matcher = matcher_pb2.Matcher
OnMatch = Matcher.OnMatch
FieldMatcher = Matcher.MatcherList.FieldMatcher

# Fewer clauses than these, or keys, are asked one after the other as cheaply.
_FEW: Final = 4
# A set of so many values is looked up.
_MANY: Final = 8
# How much larger than what was written a tree may be.
_GROWTH: Final = 2
_SMALL: Final = 48
_DEEPEST: Final = 4
# Of so many clauses a tree can nearly always be made, or it is not worth it.
_BLOCK: Final = 16


@lru_cache(maxsize=8192)
def decided(outcome: Outcome) -> OnMatch:
    """The end of the way."""
    action = rbac_pb2.RBAC.Action.ALLOW if outcome.allowed else rbac_pb2.RBAC.Action.DENY
    packed = any_(rbac_pb2.Action(name=outcome.name, action=action))
    return OnMatch(action=extension_pb2.TypedExtensionConfig(name="rule", typed_config=packed))


def first_of(clauses: Sequence[Clause], behind: OnMatch | None) -> OnMatch | None:
    """The outcome of the first clause that holds, or what stands `behind`."""
    return _matcher(clauses, behind, _DEEPEST)


def _matcher(clauses: Sequence[Clause], behind: OnMatch | None, depth: int) -> OnMatch | None:
    reached = list(_reached(clauses))
    if reached and not reached[-1].factors:
        behind = decided(reached.pop().outcome)
    if not reached:
        return behind
    best = _best(reached) if depth and len(reached) > _FEW else None
    return _tree(best, behind, depth - 1) if best is not None else _list(_steps(reached, depth), behind)


def _reached(clauses: Iterable[Clause]) -> Iterator[Clause]:
    """Nothing behind a clause that always holds is ever asked."""
    for clause in clauses:
        yield clause
        if not clause.factors:
            return


# --- trees


@dataclass(frozen=True, slots=True)
class _Sketch:
    """A tree that may be made: which of `clauses` are asked in each branch, and which are left behind them, by their places.

    `cost` is how many clauses a request meets that is in a branch, at most.
    """

    split: Split
    clauses: Sequence[Clause]
    branches: dict[str, list[int]]
    behind: list[Clause]

    @property
    def cost(self) -> float:
        return sum(map(len, self.branches.values())) / len(self.branches) + len(self.behind)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A tree: what is asked in each branch, and behind them."""

    split: Split
    branches: dict[str, list[Clause]]
    behind: list[Clause]


def _best(clauses: Sequence[Clause]) -> _Plan | None:
    attributes = dict.fromkeys(ask.attribute for clause in clauses for ask in clause.asks() if not ask.negated)
    sketches = (_sketch(split, clauses) for each in attributes for split in splits_of(each))
    worthwhile = [each for each in sketches if each is not None and each.cost < len(clauses)]
    # Only the best is worked out; the next one if that has become too large.
    plans = (_plan(each) for each in sorted(worthwhile, key=lambda sketch: sketch.cost))
    return next((plan for plan in plans if plan is not None), None)


def _sketch(split: Split, clauses: Sequence[Clause]) -> _Sketch | None:
    """How `split` would divide `clauses`; None if there is little to divide, or if branches would repeat too much."""
    asked: dict[str, list[int]] = {}
    for index, clause in enumerate(clauses):
        for key in dict.fromkeys(split.keys(clause)):
            asked.setdefault(key, []).append(index)
    if len(asked) < _FEW:
        return None
    left = [(index, answered(clause, split.attribute, split.behind)) for index, clause in enumerate(clauses)]
    behind = [(index, clause) for index, clause in left if clause is not None]
    places, sizes = [index for index, _ in behind], [0, *accumulate(clause.size for _, clause in behind)]
    if sum(sizes[bisect_left(places, indices[-1])] for indices in asked.values()) > _room(clauses):
        return None
    branches: dict[str, list[int]] = {}
    for key, indices in asked.items():
        here = {*indices, *places[: bisect_left(places, indices[-1])]}
        here.update(index for shorter in split.shorter(key, asked.keys()) for index in asked[shorter] if index < indices[-1])
        branches[key] = sorted(here)
    return _Sketch(split, clauses, branches, [clause for _, clause in behind])


def _plan(sketch: _Sketch) -> _Plan | None:
    """What is left to be asked in each branch; None if it is too much."""
    room = _room(sketch.clauses)
    branches: dict[str, list[Clause]] = {}
    for key, places in sketch.branches.items():
        inside = partial(sketch.split.inside, key=key)
        found = (answered(sketch.clauses[place], sketch.split.attribute, inside) for place in places)
        branches[key] = list(_reached(clause for clause in found if clause is not None))
        room -= sum(clause.size for clause in branches[key])
        if room < 0:
            return None
    return _Plan(sketch.split, branches, sketch.behind)


def _room(clauses: Iterable[Clause]) -> int:
    return _GROWTH * sum(clause.size for clause in clauses) + _SMALL


def _tree(plan: _Plan, behind: OnMatch | None, depth: int) -> OnMatch:
    branches = {key: found for key, clauses in sorted(plan.branches.items()) if (found := _matcher(clauses, None, depth)) is not None}
    rest = _matcher(plan.behind, behind, depth)
    return OnMatch(matcher=Matcher(matcher_tree=plan.split.tree(branches), on_no_match=rest))


# --- lists


_Step = tuple[Predicate | None, OnMatch]
"""What is asked, None: nothing, and what follows."""


def _list(steps: Sequence[_Step], behind: OnMatch | None) -> OnMatch:
    """One step after the other. Not each behind the one before it: Envoy reads messages that are a hundred deep, and no deeper."""
    if len(steps) == 1 and steps[0][0] is None and not steps[0][1].matcher.HasField("on_no_match"):
        return OnMatch(matcher=Matcher(matcher_tree=steps[0][1].matcher.matcher_tree, on_no_match=behind))
    matchers = [FieldMatcher(predicate=predicate or always(), on_match=found) for predicate, found in steps]
    return OnMatch(matcher=Matcher(matcher_list=Matcher.MatcherList(matchers=matchers), on_no_match=behind))


def _steps(clauses: Sequence[Clause], depth: int) -> list[_Step]:
    """Clauses of which no tree can be made: of fewer of them it may be possible, because less would have to be repeated."""
    if not depth or len(clauses) <= _BLOCK:
        return [step for clause in clauses for step in _asked(clause)]
    middle = len(clauses) // 2
    return [step for half in (clauses[:middle], clauses[middle:]) for step in _half(half, depth)]


def _half(clauses: Sequence[Clause], depth: int) -> list[_Step]:
    best = _best(clauses)
    return [(None, _tree(best, None, depth - 1))] if best is not None else _steps(clauses, depth)


def _asked(clause: Clause) -> Iterator[_Step]:
    """What is asked for `clause`: predicates with what follows, or, without a predicate, a tree that is looked up in any case."""
    end = decided(clause.outcome)
    found = _largest_set(clause)
    if found is None:
        yield predicate_of(clause.factors), end
        return
    split, factor, ask = found
    others = tuple(each for each in clause.factors if each is not factor)
    values = split.values(ask)
    yield predicate_of(others), OnMatch(matcher=Matcher(matcher_tree=split.tree(dict.fromkeys(sorted(values.by_key), end))))
    if values.others:
        yield predicate_of((*others, ((Ask(ask.attribute, values.others),),))), end


def _largest_set(clause: Clause) -> tuple[ExactSplit, Factor, Ask] | None:
    """The question with the most values that can be looked up, if it has many."""
    found: list[tuple[int, ExactSplit, Factor, Ask]] = []
    for factor in clause.factors:
        if len(factor) == 1 and len(factor[0]) == 1 and not factor[0][0].negated:
            ask = factor[0][0]
            for split in splits_of(ask.attribute):
                if isinstance(split, ExactSplit) and (count := len(split.values(ask).by_key)) >= _MANY:
                    found.append((count, split, factor, ask))
    return max(found, key=itemgetter(0))[1:] if found else None
