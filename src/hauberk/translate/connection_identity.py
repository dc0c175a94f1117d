"""Questions about the caller's identity, as expressions (CEL) about a connection.

Envoy takes regular expressions of a hundred steps here, which a service account with a long name would exceed. So what can be said
without one is: namespaces and accounts are compared as beginnings and whole identities for callers with an identity of the usual form
(`spiffe://DOMAIN/ns/NAMESPACE/sa/NAME`). For the few others the regular expression remains. One that is too long for Envoy is asked by its
fixed parts, which more identities have than it means: where that would let somebody in, nobody is meant by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from hauberk.policy.identity import SCHEME
from hauberk.policy.pattern import Pattern, TextPattern
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.connection_state import PEER
from hauberk.translate.expression import FALSE, all_of, any_of, literal, member, not_
from hauberk.translate.matching_identity import UsualIdentities

_STEPS: Final = 80  # of the hundred; the rest is for what stands around it
_STEPS_OF_ANY: Final = 12  # a point means every character that UTF-8 can write
_ANY: Final = re.compile(r"\[\^/\][*+]|\(\.\+/\|\)|\(/\.\+\)\?|\.[*+]|\((?:\\.|[^()\\])*\|(?:\\.|[^()\\])*\)")
_ESCAPED: Final = re.compile(r"\\(.)")
_SUFFIX: Final = re.compile(re.escape(SCHEME) + r"\.\*(?P<text>(?:\\.|[^\\.*+?()|\[\]{}^$])*)")


def is_identity(patterns: Sequence[Pattern], usual: str, domains: TrustDomains, *, wide: bool) -> Iterator[str]:
    """Expressions one of which is true if the caller is one of `patterns`; `usual`: whether its identity has the usual form.

    `wide`: who may be meant is meant.
    """
    texts = [each for each in patterns if isinstance(each, TextPattern)]
    plain = [each for each in texts if each.match != "regex"]
    yield from _compared(plain)
    quicker = UsualIdentities(domains).quicker
    compared, others = [], []
    for each in texts:
        if each.match == "regex":
            quick = [found for found in quicker(each) or () if isinstance(found, TextPattern)]
            compared.extend(quick)
            others.append((each, bool(quick)))
    for part in _compared(compared):
        yield all_of([usual, part])
    for pattern, has_quicker in others:
        asked = _matched(pattern.text, wide=wide)
        yield all_of([not_(usual), asked]) if has_quicker else asked


def has_usual_form(domains: TrustDomains) -> str:
    """The caller's identity is `spiffe://DOMAIN/ns/NAMESPACE/sa/NAME`, of a domain that is believed."""
    ours = any_of([f"{PEER}.startsWith({literal(f'{SCHEME}{name}/ns/')})" for name in domains.accepted])
    return all_of([ours, f"{PEER}.matches({literal('^[^/]+//[^/]+/ns/[^/]+/sa/[^/]+$')})"])


def _compared(patterns: Sequence[TextPattern]) -> Iterator[str]:
    exact = sorted({each.text for each in patterns if each.match == "exact"})
    yield from member(PEER, [literal(text) for text in exact])
    for each in dict.fromkeys(patterns):
        match each.match:
            case "prefix":
                yield f"{PEER}.startsWith({literal(each.text)})"
            case "suffix":
                yield f"{PEER}.endsWith({literal(each.text)})"
            case "present":
                yield f"{PEER} != ''"
            case _:
                pass


def _matched(expression: str, *, wide: bool) -> str:
    if found := _SUFFIX.fullmatch(expression):
        text = _unquoted(found["text"])
        ends = f"{PEER}.endsWith({literal(text)})"
        return all_of([f"{PEER}.startsWith({literal(SCHEME)})", ends, f"size({PEER}) >= {len(SCHEME) + len(text)}"])
    if _steps(expression) <= _STEPS:
        # CEL looks for the pattern anywhere; ours mean the whole text.
        return f"{PEER}.matches({literal(f'^(?:{expression})$')})"
    fixed = [_unquoted(part) for part in _ANY.split(expression) if part]
    contained = [f"{PEER}.contains({literal(part)})" for part in fixed if part != "/"]
    return all_of(contained) if wide else FALSE


def _steps(expression: str) -> int:
    """About how many steps Envoy's own count has."""
    return len(expression) + (_STEPS_OF_ANY - 1) * sum(map(expression.count, (".*", ".+", "[^/]*", "[^/]+")))


def _unquoted(expression: str) -> str:
    return _ESCAPED.sub(r"\1", expression)
