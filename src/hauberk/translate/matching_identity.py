"""Namespaces and service accounts as beginnings and whole identities, which can be looked up.

A policy's namespace or account may be of any trust domain, which only an expression can ask. But nearly all identities are
`spiffe://DOMAIN/ns/NAMESPACE/sa/NAME` of a known trust domain, and of these those of the namespace `shop` begin with
`spiffe://DOMAIN/ns/shop/`. So who has such an identity is asked in the quicker way, everyone else in the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.identity import SCHEME, namespace_pattern, service_account_pattern
from hauberk.policy.pattern import Pattern, TextPattern, quote
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.matching_clause import Ask, Clause, answered
from hauberk.translate.matching_predicate import Predicate, all_of, not_, text_is
from hauberk.translate.matching_text import Text, expression

IDENTITY: Final = Attribute(Kind.IDENTITY)

_ESCAPED: Final = re.compile(r"\\(.)")
_NAMESPACE: Final = re.compile(r".*?/ns/(?P<namespace>.+)/\.\*")
_ACCOUNT: Final = re.compile(r".*?/ns/(?P<namespace>.+)/\(\.\+/\|\)sa/(?P<account>.+)\(/\.\+\)\?")


@dataclass(frozen=True, slots=True)
class UsualIdentities:
    """Identities of the usual form, of `domains`."""

    domains: TrustDomains

    def in_other_form(self) -> Predicate:
        """The caller has an identity, and it is not of the usual form."""
        names = "|".join(map(quote, self.domains.accepted))
        usual = text_is(IDENTITY, expression(f"{SCHEME}(?:{names})/ns/[^/]+/sa/[^/]+"))
        return all_of([text_is(IDENTITY, Text(prefix=SCHEME)), not_(usual)])

    def clauses(self, clauses: Iterable[Clause]) -> list[Clause]:
        """`clauses` for callers with an identity of the usual form, or with none."""
        found = (answered(clause, IDENTITY, self._ask) for clause in clauses)
        return [clause for clause in found if clause is not None]

    def gains(self, clauses: Iterable[Clause]) -> int:
        """How many patterns are quicker to ask."""
        return sum(self.quicker(pattern) is not None for clause in clauses for pattern in clause.wanted(IDENTITY))

    def _ask(self, ask: Ask) -> Ask:
        return Ask(ask.attribute, tuple(dict.fromkeys(each for pattern in ask.patterns for each in self._meant(pattern))), ask.negated)

    def _meant(self, pattern: Pattern) -> Sequence[Pattern]:
        return self.quicker(pattern) or (pattern,)

    def quicker(self, pattern: Pattern) -> Sequence[Pattern] | None:
        """What asks the same of identities of the usual form without an expression; None if nothing does."""
        if not isinstance(pattern, TextPattern) or pattern.match != "regex":
            return None
        # Written again from what was read, it must be the same: another expression would mean something else.
        if found := _ACCOUNT.fullmatch(pattern.text):
            namespace, account = _read(found["namespace"]), _read(found["account"])
            if pattern == service_account_pattern(f"{namespace}/{account}", "", self.domains):
                return [TextPattern("exact", f"{SCHEME}{name}/ns/{namespace}/sa/{account}") for name in self._names]
        elif found := _NAMESPACE.fullmatch(pattern.text):
            namespace = _read(found["namespace"])
            if pattern == namespace_pattern(namespace, self.domains) and "*" not in namespace:
                return [TextPattern("prefix", f"{SCHEME}{name}/ns/{namespace}/") for name in self._names]
        return None

    @property
    def _names(self) -> tuple[str, ...]:
        return self.domains.names


def _read(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted)
