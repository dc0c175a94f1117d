"""`explain`: the one answer that the command line, the API and policy tests give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from hauberk.explain.authorization import Asked
from hauberk.explain.caller import Caller, resolve_caller
from hauberk.explain.destination import Destination, Target, resolve_destination
from hauberk.explain.explanation import Answer, Explanation, Layer, Outcome
from hauberk.explain.judging import asks_unknown_address, judge, ruleset_of
from hauberk.explain.layers import interception_layer, mtls_layer, route_document, route_layer, server_name, unrouted_layer
from hauberk.explain.lookalikes import taken_away
from hauberk.explain.places import NO_ORIGINS, Origins
from hauberk.explain.question import Question
from hauberk.explain.rulesets import Rulesets
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.snapshot import MeshSnapshot

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)  # for questions without a token
UNKNOWN_ADDRESS: Final = "policies ask about addresses that are not known here: tell the caller's (fromAddress, --from-address)"
LAYERS = ("route", "interception", "mtls", "custom", "jwt", "authorization", "rateLimit")


def explain(
    mesh: MeshSnapshot | Rulesets, question: Question, origins: Origins = NO_ORIGINS, *, now: datetime = EPOCH, trace: bool = True
) -> Explanation:
    """What becomes of the request at every workload that may answer it; Unanswerable if the question means nobody.

    `now` is when tokens are looked at. Without `trace` the answer does not say how every policy fared: for many questions in little time.
    Who has many asks the same `Rulesets`, which makes ready once what is asked about.
    """
    rulesets = mesh if isinstance(mesh, Rulesets) else Rulesets(mesh)
    snapshot = rulesets.snapshot
    caller = resolve_caller(snapshot, question)
    destination = resolve_destination(snapshot, question, caller.namespace)
    http = _is_http(destination.protocol, question)
    if http:
        question = _completed(question, destination)
    way = _Way(rulesets, question, caller, destination, origins, http, now, trace)
    answers = [_answer(way, group) for group in _alike(destination)]
    warnings = tuple(_warnings(way))
    ordered = tuple(sorted(answers, key=lambda each: each.verdict != "deny"))
    return Explanation(answers=ordered, route=route_document(destination, http=http), warnings=warnings)


def _is_http(protocol: Protocol, question: Question) -> bool:
    return protocol.is_http or (protocol is Protocol.SNIFFED and question.asks_http)


def _completed(question: Question, destination: Destination) -> Question:
    """With what a caller would send who said no more."""
    usual = question.to.rpartition("/")[2].partition(":")[0] if destination.service else destination.name
    return replace(question, method=question.method or "GET", path=question.path or "/", host=question.host or usual)


def _alike(destination: Destination) -> list[tuple[Target, ...]]:
    """The targets in groups between which no answer can differ; one empty group if nobody answers."""
    groups: list[tuple[object, list[Target]]] = []
    for target in destination.targets:
        alike = (target.number, target.inbound and replace(target.inbound, workload=destination.targets[0].workload.key, addresses=()))
        same = next((found for known, found in groups if known == alike), None)
        if same is None:
            groups.append((alike, [target]))
        else:
            same.append(target)
    return [tuple(found) for _, found in groups] or [()]


@dataclass(frozen=True, slots=True)
class _Way:
    """What is the same for every workload that may answer."""

    rulesets: Rulesets
    question: Question
    caller: Caller
    destination: Destination
    origins: Origins
    http: bool
    now: datetime
    trace: bool


def _answer(way: _Way, group: tuple[Target, ...]) -> Answer:
    pods = tuple(each.workload.name for each in group)
    target = group[0] if group else None
    route = route_layer(way.rulesets.snapshot, way.destination, target)
    if target is None or target.number is None or route.outcome is Outcome.DENY:
        return _refused(pods, (route,))
    interception = interception_layer(way.caller, target)
    if target.inbound is None:
        return _passed(pods, (route, interception))
    mtls, identity = mtls_layer(way.rulesets.snapshot, way.caller, target, way.question)
    if mtls.outcome is Outcome.DENY:
        return _refused(pods, (route, interception, mtls))
    if way.http and (unrouted := unrouted_layer(way.question)):
        return _refused(pods, (unrouted,))
    question = way.question if identity is None else replace(way.question, sni=way.question.sni or server_name(way.destination))
    return judge(_asked(replace(way, question=question), target, identity), pods, (route, interception, mtls))


def _asked(way: _Way, target: Target, identity: str | None) -> Asked:
    return Asked(way.rulesets, way.question, way.caller, target, identity, way.origins, way.http, way.now, way.trace)


def _refused(pods: tuple[str, ...], layers: tuple[Layer, ...]) -> Answer:
    last = layers[-1]
    return Answer(workloads=pods, verdict="deny", status=last.status, reason=last.because, decider=None, layers=filled(layers))


def _passed(pods: tuple[str, ...], layers: tuple[Layer, ...]) -> Answer:
    return Answer(workloads=pods, verdict="allow", status=None, reason=layers[-1].because, decider=None, layers=filled(layers))


def filled(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """With the layers that the request does not come to."""
    refused = layers[-1].outcome is Outcome.DENY
    rest = (Outcome.SKIPPED, "not reached") if refused else (Outcome.NONE, "nothing to ask")
    return (*layers, *(Layer(name, *rest) for name in LAYERS[len(layers) :]))


def _warnings(way: _Way) -> list[str]:
    found: list[str] = []
    question, destination = way.question, way.destination
    if not way.http and question.asks_http:
        port = destination.port.port if destination.port else question.port
        found.append(f"port {port} is bytes to the sidecars ({destination.protocol.value}): method and path are not looked at")
    guarded = (each for each in destination.targets if each.inbound is not None and each.number is not None)
    for target in islice(guarded, 1):
        asked = _asked(way, target, None)
        if asks_unknown_address(asked):
            found.append(UNKNOWN_ADDRESS)
        if way.http and question.headers:
            alike = taken_away(ruleset_of(asked), question.headers)
            found += [f"header {name} is taken away: a program may take it for {other}, by which policies decide" for name, other in alike]
    return found
