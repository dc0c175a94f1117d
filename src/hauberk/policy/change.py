"""Edits of policies and of requests, small enough to be told in a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, Final, Literal

from hauberk.api.metadata import ObjectKey
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.facts import Facts
from hauberk.policy.host import canonical_host
from hauberk.policy.identity import SCHEME
from hauberk.policy.matching import pattern_matches
from hauberk.policy.pattern import AddressPattern, Pattern, PortPattern, RequestPrincipalPattern, TextPattern
from hauberk.policy.rule import Alternative, NormalRule, Question

Deed = Literal["add", "remove", "removeRule", "request"]
_ALL_WORDS: Final = {"add": "add {value} at {path}", "remove": "remove {value} at {path}", "removeRule": "remove {path}"}


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit: of a list at the spec path of `policy`, or (`request`) of what `path` names in the request."""

    deed: Deed
    path: str
    value: str
    policy: ObjectKey | None = None

    def __str__(self) -> str:
        if self.policy is None:
            return f"a request with {self.path} {self.value}"
        told = _ALL_WORDS[self.deed].format(value=repr(self.value).replace("'", '"'), path=self.path)
        return f"{told} of {self.policy.namespace}/{self.policy.name}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        policy = f"{self.policy.namespace}/{self.policy.name}" if self.policy else None
        return {"edit": self.deed, "policy": policy, "path": self.path, "value": self.value}


@dataclass(frozen=True, slots=True)
class Change:
    """Edits that together turn the decision."""

    edits: tuple[Edit, ...]

    def __str__(self) -> str:
        return ", and ".join(map(str, self.edits))

    @property
    def rank(self) -> tuple[int, int, str]:
        """Fewer edits first; to take a rule away is the last resort; of equals those of policies first."""
        drastic = sum(each.deed == "removeRule" for each in self.edits)
        return len(self.edits) + 3 * drastic, sum(each.policy is None for each in self.edits), str(self)


# --- edits of a rule


def turned(question: Question, facts: Facts, policy: ObjectKey, *, holds: bool) -> tuple[Question, Edit] | None:
    """`question`, which does not, so that it holds (or the other way round): with the request's value, or without the one that it meets."""
    if question.negated is holds:
        return _without_met(question, facts, policy)
    value = _value_for(question, facts)
    if value is None:
        return None
    text, pattern = value
    return replace(question, patterns=(*question.patterns, pattern)), Edit("add", question.path, text, policy)


def _without_met(question: Question, facts: Facts, policy: ObjectKey) -> tuple[Question, Edit] | None:
    """Without the one value that the request meets; nobody can say what a list means from which the last one is gone."""
    if len(question.values) != len(question.patterns):
        return None
    met = [pattern_matches(pattern, question.attribute, facts) for pattern in question.patterns]
    if sum(met) != 1 or (len(met) == 1 and not question.negated):
        return None
    kept = tuple(pattern for pattern, gone in zip(question.patterns, met, strict=True) if not gone)
    value = question.values[met.index(True)]
    return replace(question, patterns=kept), Edit("remove", question.path, value, policy)


def with_question(rule: NormalRule, old: Question, new: Question) -> NormalRule:
    """`rule` with `new` in the place of `old`."""

    def changed(alternative: Alternative) -> Alternative:
        return tuple(new if each is old else each for each in alternative)

    sources, operations = tuple(map(changed, rule.sources)), tuple(map(changed, rule.operations))
    return replace(rule, sources=sources, operations=operations, conditions=changed(rule.conditions))


# --- values as they are written


def _value_for(question: Question, facts: Facts) -> tuple[str, Pattern] | None:
    """What would be written for the request's own value in this field, and what it means; None if the request has none."""
    attribute = question.attribute
    if attribute.kind is Kind.REQUEST_PRINCIPAL:
        principal = facts.principal()
        return (
            (f"{principal[0]}/{principal[1]}", RequestPrincipalPattern(_exact(principal[0]), _exact(principal[1]))) if principal else None
        )
    if attribute.kind in (Kind.DIRECT_IP, Kind.REMOTE_IP, Kind.DESTINATION_IP):
        address = facts.address(attribute.kind)
        return (str(address), AddressPattern(ip_network(address))) if address else None
    texts = [text for text in facts.texts(attribute) if text]
    if not texts:
        return None
    if attribute.kind is Kind.PORT:
        return texts[0], PortPattern(int(texts[0]))
    if attribute.kind is Kind.IDENTITY:
        return _written_identity(question, texts[0]), _exact(texts[0])
    text = canonical_host(texts[0])[0] if attribute.kind is Kind.HOST else texts[0]
    return (text, _exact(text)) if not text.startswith("*") and not text.endswith("*") else None


def _written_identity(question: Question, identity: str) -> str:
    """In the words of the field: of a namespace its name alone, of an account NAMESPACE/NAME, else all without the scheme."""
    short = identity.removeprefix(SCHEME)
    domain, _, rest = short.partition("/ns/")
    namespace, _, account = rest.partition("/sa/")
    match _identity_field(question):
        case "namespaces":
            return namespace
        case "serviceAccounts":
            return f"{namespace}/{account}"
        case "trustDomains":
            return domain
        case _:
            return short


def _identity_field(question: Question) -> str:
    name = question.path.rpartition(".")[2]
    name = name[3].lower() + name[4:] if name.startswith("not") else name
    if name != "values":
        return name
    texts = [pattern.text for pattern in question.patterns if isinstance(pattern, TextPattern)]
    if any("sa/" in text and text.endswith("(/.+)?") for text in texts):
        return "serviceAccounts"
    if any("/ns/" in text and text.endswith("/.*") for text in texts):
        return "namespaces"
    return "trustDomains" if any(text.count("/") == 3 and text.endswith("/") for text in texts) else "principals"


def _exact(text: str) -> TextPattern:
    return TextPattern("exact", text)


# --- edits of a request


def requests_meeting(question: Question, facts: Facts) -> Iterator[tuple[Facts, Edit]]:
    """The request with another value, so that `question`, which fails, holds."""
    if question.negated or question.attribute.kind not in _SET:
        return
    for pattern in question.patterns[:3]:
        text = _example(pattern)
        if text is not None:
            yield _SET[question.attribute.kind](facts, question.attribute, text), Edit("request", _named(question.attribute), text)


def _example(pattern: Pattern) -> str | None:
    if isinstance(pattern, PortPattern):
        return str(pattern.number)
    return pattern.text if isinstance(pattern, TextPattern) and pattern.match == "exact" else None


def _named(attribute: Attribute) -> str:
    match attribute.kind:
        case Kind.HEADER:
            return f"header {attribute.key[0]}"
        case Kind.CLAIM:
            return f"claim {'.'.join(attribute.key)}"
        case kind:
            return str(kind)


def _with_claim(facts: Facts, attribute: Attribute, text: str) -> Facts:
    value: Any = text
    for name in reversed(attribute.key[1:]):
        value = {name: value}
    return _request(facts, claims={**(facts.request.claims or {}), attribute.key[0]: value})


def _request(facts: Facts, **fields: Any) -> Facts:
    return replace(facts, request=replace(facts.request, **fields))


_SET: Final[dict[Kind, Any]] = {
    Kind.IDENTITY: lambda facts, _, text: replace(facts, peer=replace(facts.peer, identity=text)),
    Kind.METHOD: lambda facts, _, text: _request(facts, method=text),
    Kind.PATH: lambda facts, _, text: replace(facts, path=text),
    Kind.HOST: lambda facts, _, text: _request(facts, host=text),
    Kind.PORT: lambda facts, _, text: _request(facts, port=int(text)),
    Kind.SNI: lambda facts, _, text: _request(facts, sni=text),
    Kind.HEADER: lambda facts, attribute, text: _request(facts, headers={**facts.request.headers, attribute.key[0]: (text,)}),
    Kind.CLAIM: _with_claim,
}
