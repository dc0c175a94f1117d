"""Ports that nobody has, and conditions of HTTP on ports that speak something else, or may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hauberk.analysis.clauses import Clause, rule_clauses
from hauberk.analysis.world import World
from hauberk.api.authorization_policy import Action, AuthorizationPolicy, Operation, Rule
from hauberk.api.condition_key import ConditionKind
from hauberk.api.finding import Finding, Location
from hauberk.mesh.protocol import Protocol

Ports = Mapping[int, Protocol]


def check_ports(policy: AuthorizationPolicy, world: World) -> Iterator[Finding]:
    """What the rules say of ports, against the ports of the workloads that the policy selects."""
    found = (clause for index, rule in enumerate(policy.spec.rules) for clause in rule_clauses(index, rule))
    if policy.spec.action is not Action.CUSTOM and not any(map(_concerns_ports, found)):
        return
    known = world.selected(policy).ports
    # Where somebody has declared no port at all, any may be open.
    every = bool(known) and all(known)
    for index, rule in enumerate(policy.spec.rules):
        if every:
            yield from _check_numbers(index, rule, known)
        yield from _check_protocols(index, rule, policy.spec.action, known, every=every)


def _concerns_ports(clause: Clause) -> bool:
    return clause.asks is ConditionKind.DESTINATION_PORT or clause.http_only


def _check_numbers(index: int, rule: Rule, known: tuple[Ports, ...]) -> Iterator[Finding]:
    for clause in rule_clauses(index, rule):
        if clause.asks is not ConditionKind.DESTINATION_PORT:
            continue
        for number, value in enumerate(clause.values):
            if not any(int(value) in ports for ports in known):
                told = ", ".join(map(str, sorted({port for ports in known for port in ports})))
                message = f"no selected workload has the port {value}; known are {told}. Ports are those of the program, not of a Service"
                yield Finding("HBK0347", (*clause.at, number), message)


def _check_protocols(index: int, rule: Rule, action: Action, known: tuple[Ports, ...], *, every: bool) -> Iterator[Finding]:
    at: Location = ("spec", "rules", index)
    named = any(each.asks is ConditionKind.DESTINATION_PORT for each in rule_clauses(index, rule) if "when" in each.at)
    everywhere = any(each.http_only for each in rule_clauses(index, rule) if "to" not in each.at)
    entries: list[tuple[Location, Operation]] = [((*at, "to", n, "operation"), each.operation) for n, each in enumerate(rule.to or ())]
    for place, operation in entries or [(at, Operation())]:
        meant = {port: speaks for ports in known for port, speaks in ports.items() if _means(operation, port)}
        bytes_only = sorted(port for port, speaks in meant.items() if speaks is Protocol.TCP)
        if not everywhere and not _asks_http(operation):
            if bytes_only and action is Action.CUSTOM:
                yield Finding("HBK0363", place, f"{_speakers(bytes_only)} no HTTP: connections that this rule means are denied there")
            continue
        # A port that was not named on purpose is no mistake as long as another one speaks HTTP.
        if bytes_only and every and (operation.ports or len(bytes_only) == len(meant)):
            yield Finding("HBK0348", place, _told(bytes_only, action))
        elif action is not Action.ALLOW and not named and not operation.ports and not operation.not_ports:
            yield from _check_lost(place, action, meant, every=every)


def _check_lost(at: Location, action: Action, meant: Ports, *, every: bool) -> Iterator[Finding]:
    """A rule that loses conditions on connections of bytes, where there are such, or may be, on a port that it did not choose."""
    others = sorted(port for port, speaks in meant.items() if speaks in (Protocol.TCP, Protocol.SNIFFED))
    if others:
        message = f"nothing declares that {_speakers(others)} HTTP; of what is not, this rule {_widened(action)}"
        yield Finding("HBK0304", at, message)
    elif not every:
        message = f"which ports there are is not declared; of what is not HTTP, this rule {_widened(action)}"
        yield Finding("HBK0304", at, message, severity="info")


def _told(ports: list[int], action: Action) -> str:
    effect = "allows nothing" if action is Action.ALLOW else _widened(action)
    return f"{_speakers(ports)} no HTTP, so that there this rule {effect}"


def _widened(action: Action) -> str:
    # About a connection nobody can be asked before it is too late to refuse it.
    return f"{'notes' if action is Action.AUDIT else 'denies'} every connection that its other fields mean"


def _speakers(ports: list[int]) -> str:
    return f"port {ports[0]} speaks" if len(ports) == 1 else f"ports {', '.join(map(str, ports))} speak"


def _asks_http(operation: Operation) -> bool:
    wanted = operation.hosts + operation.methods + operation.paths
    return bool(wanted + operation.not_hosts + operation.not_methods + operation.not_paths)


def _means(operation: Operation, port: int) -> bool:
    return (not operation.ports or str(port) in operation.ports) and str(port) not in operation.not_ports


def check_undeclared(at: Location, known: Iterable[Ports], passes: str) -> Iterator[Finding]:
    """Ports on which a caller chooses whether he sends requests: `passes` says what he gets by as bytes."""
    found = sorted({port for ports in known for port, speaks in ports.items() if speaks is Protocol.SNIFFED})
    if found:
        message = f"nothing declares that {_speakers(found)} HTTP: as a connection of bytes, which a caller can pretend, {passes}"
        yield Finding("HBK0365", at, message)
