"""Which labels are meant: a Deployment's selector, a policy's selector, and the text after `-l`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from hauberk.api.finding import Finding, Location
from hauberk.api.model import ApiModel
from hauberk.api.name import label_key_fault

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class Requirement(ApiModel):
    """One expression about one label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None


class LabelSelector(ApiModel):
    """All of `match_labels` and all of `match_expressions`; the empty selector matches everything."""

    match_labels: Mapping[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return has_labels(labels, self.match_labels) and all(each.matches(labels) for each in self.match_expressions)


class WorkloadSelector(ApiModel):
    """Istio's selector: equal labels only; the empty one selects every workload of its scope."""

    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"matchExpressions"})

    match_labels: Mapping[str, str] = {}

    def matches(self, labels: Mapping[str, str]) -> bool:
        return has_labels(labels, self.match_labels)


def check_requirements(at: Location, requirements: tuple[Requirement, ...]) -> Iterator[Finding]:
    """Operators with values where they need none, or none where they need some."""
    for index, each in enumerate(requirements):
        here: Location = (*at, index)
        if fault := label_key_fault(each.key):
            yield Finding("HBK0111", (*here, "key"), f"{each.key!r} is no key of a label: it {fault}")
        if (each.operator in ("In", "NotIn")) != bool(each.values):
            wanted = "needs at least one value" if each.operator in ("In", "NotIn") else "takes no values"
            yield Finding("HBK0110", (*here, "values"), f"{each.operator} {wanted}")


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """`labels` hold every pair of `wanted`."""
    return all(labels.get(key) == value for key, value in wanted.items())


class SelectorSyntaxError(ValueError):
    """The text after `-l` cannot be read."""


@dataclass(frozen=True, slots=True)
class Selector:
    """What `-l` says: every requirement holds."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(each.matches(labels) for each in self.requirements)


_KEY = r"(?P<key>[A-Za-z0-9][-A-Za-z0-9_./]*)"
_SET = re.compile(_KEY + r"\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(_KEY + r"\s*(?P<operator>==|=|!=)\s*(?P<value>[-A-Za-z0-9_.]*)")
_PRESENT = re.compile(r"(?P<absent>!?)\s*" + _KEY)


def parse_selector(text: str) -> Selector:
    """Kubernetes' selector text: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`, joined by commas."""
    # Only commas outside parentheses separate requirements.
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text)] if text.strip() else []
    return Selector(tuple(_parse_requirement(part) for part in parts))


def _parse_requirement(part: str) -> Requirement:
    if found := _SET.fullmatch(part):
        values = tuple(value.strip() for value in found["values"].split(","))
        return Requirement(key=found["key"], operator="In" if found["operator"] == "in" else "NotIn", values=values)
    if found := _EQUAL.fullmatch(part):
        return Requirement(key=found["key"], operator="NotIn" if found["operator"] == "!=" else "In", values=(found["value"],))
    if found := _PRESENT.fullmatch(part):
        return Requirement(key=found["key"], operator="DoesNotExist" if found["absent"] else "Exists")
    raise SelectorSyntaxError(f"{part!r} is no label selector; write a=b, a!=b, 'a in (b,c)', 'a notin (b)', a or !a")
