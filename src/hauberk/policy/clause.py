"""One field of a source or an operation, held against the request: matches, or fails and says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hauberk.api.authorization_policy import Operation, Rule, Source
from hauberk.policy.request import Peer, Request
from hauberk.policy.trust_domains import TrustDomains
from hauberk.policy.value import IdentityPattern, namespace_pattern, parse_pattern, principal_pattern, service_account_pattern


@dataclass(frozen=True, slots=True)
class FailedClause:
    """Why a rule did not match: the field at `path` wants (or excludes) `values`, and found `actual`."""

    path: str
    values: tuple[str, ...]
    actual: str

    def __str__(self) -> str:
        return f"{self.path} is {', '.join(self.values)}; the request has {self.actual or 'none'}"


@dataclass(frozen=True, slots=True)
class _Attribute:
    """One attribute with the values that a clause wants and excludes."""

    name: str
    wanted: tuple[str, ...]
    excluded: tuple[str, ...]
    actual: str
    matches: Callable[[str], bool]
    http: bool = False  # does not exist on a TCP connection

    @property
    def used(self) -> bool:
        return bool(self.wanted or self.excluded)

    def failure(self, path: str) -> FailedClause | None:
        if self.wanted and not any(map(self.matches, self.wanted)):
            return FailedClause(f"{path}.{self.name}", self.wanted, self.actual)
        if any(map(self.matches, self.excluded)):
            return FailedClause(f"{path}.not{self.name[0].upper()}{self.name[1:]}", self.excluded, self.actual)
        return None


def source_failure(source: Source, peer: Peer, policy_namespace: str, path: str, domains: TrustDomains) -> FailedClause | None:
    """None if the caller is meant, else the first field that excludes it."""
    identity = peer.identity

    def by(pattern: Callable[[str], IdentityPattern]) -> Callable[[str], bool]:
        return lambda value: pattern(value).matches(identity)

    actual = identity or "no identity"
    account = by(lambda value: service_account_pattern(value, policy_namespace, domains))
    namespace = by(lambda value: namespace_pattern(value, domains))

    def is_principal(value: str) -> bool:
        return any(principal_pattern(meant).matches(identity) for meant in domains.expand(value))

    return _first_failure(
        path,
        _Attribute("principals", source.principals, source.not_principals, actual, is_principal),
        _Attribute("namespaces", source.namespaces, source.not_namespaces, actual, namespace),
        _Attribute("serviceAccounts", source.service_accounts, source.not_service_accounts, actual, account),
    )


def operation_failure(operation: Operation, request: Request, path: str) -> FailedClause | None:
    """None if the request is meant, else the first field that excludes it; on TCP, HTTP fields are as if absent."""
    attributes = _operation_attributes(operation, request)
    return _first_failure(path, *(each for each in attributes if request.http or not each.http))


def needs_http(rule: Rule) -> bool:
    """Some field of the rule exists only in HTTP requests."""
    unseen = Request(port=0)
    return any(each.used and each.http for entry in rule.to or () for each in _operation_attributes(entry.operation, unseen))


def _operation_attributes(operation: Operation, request: Request) -> tuple[_Attribute, ...]:
    def text(actual: str, *, ignore_case: bool = False) -> Callable[[str], bool]:
        return lambda value: parse_pattern(value).matches(actual, ignore_case=ignore_case)

    host, method, path, port = request.host, request.method, request.url_path, request.port
    return (
        _Attribute("hosts", operation.hosts, operation.not_hosts, host, text(host, ignore_case=True), http=True),
        _Attribute("methods", operation.methods, operation.not_methods, method, text(method), http=True),
        _Attribute("paths", operation.paths, operation.not_paths, path, text(path), http=True),
        _Attribute("ports", operation.ports, operation.not_ports, str(port), lambda value: int(value) == port),
    )


def _first_failure(path: str, *attributes: _Attribute) -> FailedClause | None:
    return next((failed for each in attributes if (failed := each.failure(path))), None)
