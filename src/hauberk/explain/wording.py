"""Clauses as sentences: what the request has, and what the clause wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.rule import Question
from hauberk.policy.trace import FailedClause

_MOST_NAMED: Final = 6  # values of a long list


def clause_text(failed: FailedClause) -> str:
    """`claim `groups` has [reader]; needs one of [writer]`."""
    wanted = f"must be none of {listed(failed.values)}" if failed.negated else f"needs {_one_of(failed.values)}"
    return f"{has_text(failed.attribute, failed.actual)}; {wanted}"


def unknown_text(question: Question) -> str:
    """The same where nobody knows what the request had."""
    wanted = f"must be none of {listed(question.values)}" if question.negated else f"needs {_one_of(question.values)}"
    return f"{subject_of(question.attribute)} is not in the record; {wanted}"


def has_text(attribute: Attribute, actual: str) -> str:
    """What the request has of the attribute."""
    kind = attribute.kind
    if kind is Kind.IDENTITY:
        return f"the caller is {identity_text(actual)}" if actual else "the caller has no identity"
    subject = subject_of(attribute)
    if not actual:
        return f"there is no {subject}" if kind in _NAMED else f"{subject} is not known" if kind in _ADDRESSES else f"{subject} is empty"
    return f"{subject} {'has' if kind is Kind.CLAIM and actual.startswith('[') else 'is'} {actual}"


_NAMED: Final = frozenset({Kind.CLAIM, Kind.HEADER, Kind.REQUEST_PRINCIPAL, Kind.METADATA, Kind.SNI})
_ADDRESSES: Final = frozenset({Kind.DIRECT_IP, Kind.REMOTE_IP, Kind.DESTINATION_IP})


_SUBJECTS: Final[Mapping[Kind, str]] = {
    Kind.IDENTITY: "the caller",
    Kind.DIRECT_IP: "the connection's address",
    Kind.REMOTE_IP: "the client's address",
    Kind.DESTINATION_IP: "the destination's address",
    Kind.PORT: "the workload's port",
    Kind.SNI: "server name (SNI)",
    Kind.HOST: "host",
    Kind.METHOD: "method",
    Kind.PATH: "path",
    Kind.HEADER: "header",
    Kind.REQUEST_PRINCIPAL: "verified token (request principal)",
    Kind.CLAIM: "claim",
    Kind.METADATA: "metadata",
}


def subject_of(attribute: Attribute) -> str:
    """What a clause is about."""
    named = f" `{'.'.join(attribute.key)}`" if attribute.key else ""
    return f"{_SUBJECTS[attribute.kind]}{named}"


def identity_text(identity: str) -> str:
    """`shop/frontend` for a SPIFFE ID of a ServiceAccount, with its trust domain where that is not the usual one."""
    domain, _, rest = identity.removeprefix("spiffe://").partition("/ns/")
    namespace, found, account = rest.partition("/sa/")
    if not found or "/" in account:
        return identity
    return f"{namespace}/{account}" if domain == "cluster.local" else f"{namespace}/{account} of {domain}"


def listed(values: tuple[str, ...]) -> str:
    """`[a, b]`, without the end of a long list."""
    named = ", ".join(values[:_MOST_NAMED])
    return f"[{named}, … and {len(values) - _MOST_NAMED} more]" if len(values) > _MOST_NAMED else f"[{named}]"


def _one_of(values: tuple[str, ...]) -> str:
    return f"one of {listed(values)}" if len(values) > 1 else f"[{values[0]}]" if values else "nothing"
