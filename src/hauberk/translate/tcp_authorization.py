"""AuthorizationPolicies for TCP connections: decided before the program hears of the connection.

Envoy's RBAC filter for connections decides at the client's first byte. By then the program has been connected to, and a server
that speaks first has greeted a caller it should never have met. So the decision is an expression (CEL) that is evaluated when the
TLS handshake is done; it names the policy for the access record and chooses where the connection goes: to the program, or nowhere.

What only HTTP knows (methods, paths, hosts) cannot be asked here. As in Istio, an ALLOW rule that asks it never allows, and a DENY
rule denies what the rest of it says: both err on the closed side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hauberk.api.authorization_policy import Action, AuthorizationPolicy, Operation, Rule, Source
from hauberk.envoy.name import policy_name
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.identity_pattern import Pattern
from hauberk.translate.rbac import source_patterns

ALLOW: Final = "allow|"
DENY: Final = "deny|"
# The decision where no policy is asked.
ALLOWED: Final = f"'{ALLOW}'"

PEER: Final = "connection.uri_san_peer_certificate"
NO_PEER: Final = "''"

_TRUE, _FALSE = "true", "false"
_GROUP: Final = 4  # questions that stand inside one another; a thousand are five groups deep


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of a connection: its `port` (None: not here), and in CEL who calls."""

    port: int | None
    peer: str
    domains: TrustDomains


def decision(policies: Sequence[AuthorizationPolicy], connection: Connection) -> str:
    """The CEL expression that gives `allow|POLICY` or `deny|POLICY`; POLICY is empty where no rule, but the absence of one, decides."""
    denies = [p for p in policies if p.spec.action is Action.DENY]
    allows = [p for p in policies if p.spec.action is Action.ALLOW]
    asked = ((DENY, denies), (ALLOW, allows))
    questions = [(condition, verdict + name) for verdict, found in asked for p in found for condition, name in _questions(p, connection)]
    return _first(questions, DENY if allows else ALLOW)


def _first(questions: Sequence[tuple[str, str]], otherwise: str) -> str:
    """The expression that gives the answer of the first question that holds.

    Envoy parses expressions to a depth of 32, so one question inside another is possible for some thirty of them. Here they stand in
    groups of groups: is it one of these at all, and then which?
    """
    if not questions:
        return literal(otherwise)
    if len(questions) <= _GROUP:
        answer = literal(otherwise)
        for condition, name in reversed(questions):
            answer = _if(condition, literal(name), answer)
        return answer
    size = math.ceil(len(questions) / _GROUP)
    groups = [questions[at : at + size] for at in range(0, len(questions), size)]
    answer = _first(groups.pop(), otherwise)
    for group in reversed(groups):
        # Inside it one of them holds, so the last need not be asked.
        answer = _if(_any([condition for condition, _ in group]), _first(group[:-1], group[-1][1]), answer)
    return answer


def _if(condition: str, then: str, otherwise: str) -> str:
    match condition:
        case "true":
            return then
        case "false":
            return otherwise
        case _:
            return f"{condition} ? ({then}) : ({otherwise})"


def _questions(policy: AuthorizationPolicy, connection: Connection) -> Iterator[tuple[str, str]]:
    metadata = policy.metadata
    for index, rule in enumerate(policy.spec.rules):
        condition = _rule(rule, metadata.namespace, connection, widen=policy.spec.action is Action.DENY)
        yield condition, policy_name(metadata.namespace, metadata.name, index)


def _rule(rule: Rule, namespace: str, connection: Connection, *, widen: bool) -> str:
    operations = [_operation(entry.operation, connection.port, widen=widen) for entry in rule.to or ()]
    asked = [operation for operation in operations if operation is not None]
    # Istio drops an ALLOW rule whole if any part of it asks for HTTP.
    if len(asked) < len(operations):
        return _FALSE
    sources = [_source(entry.source, namespace, connection) for entry in rule.from_ or ()]
    return _all([_any(asked) if asked else _TRUE, _any(sources) if sources else _TRUE])


def _operation(operation: Operation, port: int | None, *, widen: bool) -> str | None:
    http = (operation.hosts, operation.not_hosts, operation.methods, operation.not_methods, operation.paths, operation.not_paths)
    if any(http) and not widen:
        return None
    parts = []
    if operation.ports:
        parts.append(_ports(operation.ports, port))
    if operation.not_ports:
        parts.append(_not(_ports(operation.not_ports, port)))
    return _all(parts)


def _ports(values: Iterable[str], port: int | None) -> str:
    if port is None:
        return f"destination.port in [{', '.join(str(int(value)) for value in values)}]"
    return _TRUE if port in {int(value) for value in values} else _FALSE


def _source(source: Source, namespace: str, connection: Connection) -> str:
    parts = []
    for values, others in source_patterns(source, namespace, connection.domains):
        if values:
            parts.append(_identities(values, connection.peer))
        if others:
            parts.append(_not(_identities(others, connection.peer)))
    return _all(parts)


def _identities(patterns: Iterable[Pattern], peer: str) -> str:
    if peer == NO_PEER:
        return _FALSE
    return _any([_identity(pattern, peer) for pattern in patterns])


def _identity(pattern: Pattern, peer: str) -> str:
    match pattern.kind:
        case "exact":
            return f"{peer} == {literal(pattern.text)}"
        case "prefix":
            return f"{peer}.startsWith({literal(pattern.text)})"
        case "regex":
            # CEL looks for the pattern anywhere; ours mean the whole text.
            return f"{peer}.matches({literal(f'^(?:{pattern.text})$')})"


def literal(value: str) -> str:
    """A CEL string literal. Outside of letters, digits and a few marks everything is written as a code point: nothing ends it early."""
    return "'" + "".join(c if c.isascii() and (c.isalnum() or c in "-_./:|[]") else f"\\U{ord(c):08x}" for c in value) + "'"


def _not(expression: str) -> str:
    return {_TRUE: _FALSE, _FALSE: _TRUE}.get(expression, f"!({expression})")


def _any(expressions: Iterable[str]) -> str:
    found = [each for each in dict.fromkeys(expressions) if each != _FALSE]
    if _TRUE in found:
        return _TRUE
    return " || ".join(f"({each})" for each in found) if len(found) > 1 else (found or [_FALSE])[0]


def _all(expressions: Iterable[str]) -> str:
    found = [each for each in dict.fromkeys(expressions) if each != _TRUE]
    if _FALSE in found:
        return _FALSE
    return " && ".join(f"({each})" for each in found) if len(found) > 1 else (found or [_TRUE])[0]
