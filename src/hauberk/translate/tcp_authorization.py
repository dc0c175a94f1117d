"""AuthorizationPolicies for TCP connections: decided before the program hears of the connection.

Envoy's RBAC filter for connections decides at the client's first byte. By then the program has been connected to, and a server
that speaks first has greeted a caller it should never have met. So the decision is made of expressions (CEL) that are evaluated when
the TLS handshake is done (a plain connection: when it comes). It stays with the connection, for the access record and for what
leads the connection on, to the program or nowhere.

The expressions are two resources of a workload, one for all its chains with mutual TLS and one for all others, discovered like
everything else: a changed policy replaces these, and no listener and no connection. They are waited for at the start.

What only HTTP knows (methods, paths, tokens) cannot be asked here. As in Istio, an ALLOW rule that asks it never allows, and a DENY
rule denies what the rest of it says: both err on the closed side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from envoy.config.core.v3 import config_source_pb2, extension_pb2
from envoy.config.listener.v3 import listener_components_pb2

from hauberk.api.authorization_policy import Action, AuthorizationPolicy
from hauberk.envoy.message import TYPE_PREFIX, ads, any_
from hauberk.envoy.name import BLACK_HOLE
from hauberk.policy.normalize import normalize
from hauberk.policy.rule import NormalPolicy
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.access_log import AUDIT_STATE, DECISION_STATE, DRY_RUN_STATE
from hauberk.translate.connection_question import Questions
from hauberk.translate.connection_state import ALLOW, CLUSTER_STATE, DENY, Config, State, after_handshake, state, when_it_comes
from hauberk.translate.encode import encode_resource
from hauberk.translate.expression import FALSE, LONGEST, TRUE, any_of, evaluated, if_, kept, literal
from hauberk.translate.one_identity import refused_if_several
from hauberk.xds.resource import Resource

# The resources that decide, of connections through mutual TLS and of others; filters have the same names.
MUTUAL: Final = "hauberk-policy-tcp"
PLAIN: Final = "hauberk-policy-tcp-plain"

_BEHIND_ALLOW: Final = "allow}"  # the first text behind all that begin with ALLOW

_GROUP: Final = 4  # questions that stand inside one another; a thousand are five groups deep


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is kept if `condition` holds."""

    condition: str
    text: str


def decided(name: str) -> listener_components_pb2.Filter:
    """The filter `name` (MUTUAL, PLAIN). A sidecar waits for what it is told: one that began without it would let everybody in."""
    source = config_source_pb2.ExtensionConfigSource(config_source=ads(), type_urls=[TYPE_PREFIX + Config.DESCRIPTOR.full_name])
    return listener_components_pb2.Filter(name=name, config_discovery=source)


def encode_decisions(
    policies: Iterable[AuthorizationPolicy], domains: TrustDomains, origins: tuple[str, ...] = ()
) -> tuple[Resource, Resource]:
    """What the filters MUTUAL and PLAIN of a workload do that `policies` select."""
    normal = [normalize(policy, domains) for policy in policies]
    mutual, plain = (build_decision(normal, domains, mutual=each) for each in (True, False))
    return _resource(MUTUAL, mutual, origins), _resource(PLAIN, plain, origins)


def build_decision(policies: Sequence[NormalPolicy], domains: TrustDomains, *, mutual: bool) -> Config:
    """What is kept with a connection that comes through mutual TLS, or otherwise."""
    questions = Questions(domains, mutual=mutual)
    decision = _decision(policies, questions)
    noted = (*_dry_run(policies, questions), *_audit(policies, questions))
    if mutual:
        # Whatever was decided before, nobody is let in under several names.
        decision = [*(decision or [state(DECISION_STATE, ALLOW, upstream=True)]), refused_if_several()]
        return after_handshake((*questions.states, *decision, *noted))
    return when_it_comes((*questions.states, *decision, *(_led_nowhere() if decision else ()), *noted))


def _resource(name: str, config: Config, origins: tuple[str, ...]) -> Resource:
    return encode_resource(extension_pb2.TypedExtensionConfig(name=name, typed_config=any_(config)), name, origins)


def _decision(policies: Sequence[NormalPolicy], questions: Questions) -> list[State]:
    enforced = [policy for policy in policies if not policy.dry_run]
    return _verdict(DECISION_STATE, enforced, questions, upstream=True)


def _dry_run(policies: Sequence[NormalPolicy], questions: Questions) -> list[State]:
    tried = any(policy.dry_run and policy.action in (Action.ALLOW, Action.DENY) for policy in policies)
    return _verdict(DRY_RUN_STATE, policies, questions) if tried else []


def _audit(policies: Sequence[NormalPolicy], questions: Questions) -> list[State]:
    return _first(AUDIT_STATE, _answers(policies, Action.AUDIT, "", questions), "")


def _verdict(key: str, policies: Sequence[NormalPolicy], questions: Questions, *, upstream: bool = False) -> list[State]:
    """`allow|RULE` or `deny|RULE`; RULE is empty where no rule, but the absence of one, decides. Nothing if nothing is asked."""
    # Nobody can be asked about a connection before it is too late to refuse it: what CUSTOM would have asked about is denied.
    asking = [policy for policy in policies if policy.action is Action.CUSTOM and not policy.dry_run]
    denying, allowing = (any(policy.action is action for policy in policies) for action in (Action.DENY, Action.ALLOW))
    if not (asking or denying or allowing):
        return []
    answers = (
        *_answers(asking, Action.CUSTOM, DENY, questions),
        *_answers(policies, Action.DENY, DENY, questions),
        *_answers(policies, Action.ALLOW, ALLOW, questions),
    )
    return _first(key, answers, DENY if allowing else ALLOW, upstream=upstream)


def _answers(policies: Iterable[NormalPolicy], action: Action, verdict: str, questions: Questions) -> Iterator[_Answer]:
    rules = (rule for policy in policies if policy.action is action for rule in policy.rules)
    for rule in sorted(rules, key=lambda rule: str(rule.id)):
        asked = rule.for_connections(action)
        if asked is not None:
            yield _Answer(questions.rule(asked, wide=action is not Action.ALLOW), verdict + str(rule.id))


def _led_nowhere() -> Iterator[State]:
    """A plain connection goes to the program unless this says otherwise; whatever goes wrong with it, there is no such cluster."""
    allowed = f"{kept(DECISION_STATE)} >= b'{ALLOW}' && {kept(DECISION_STATE)} < b'{_BEHIND_ALLOW}'"
    yield state(CLUSTER_STATE, evaluated(if_(allowed, "''", literal(BLACK_HOLE))), factory=CLUSTER_STATE, if_any=True)


def _first(key: str, answers: Iterable[_Answer], otherwise: str, *, upstream: bool = False) -> list[State]:
    """What gives the answer of the first condition that holds.

    In as many expressions as their length demands: the last of them comes first, and each that has an answer replaces the one before.
    """
    asked, otherwise = _possible(answers, otherwise)
    packs = list(_packs(asked))
    if len(packs) == 1:
        return [state(key, evaluated(_chosen(packs[0], otherwise)), upstream=upstream, if_any=not otherwise)]
    found = [state(key, otherwise, upstream=upstream)] if otherwise else []
    return found + [state(key, evaluated(_chosen(pack, "")), upstream=upstream, if_any=True) for pack in reversed(packs)]


def _possible(answers: Iterable[_Answer], otherwise: str) -> tuple[list[_Answer], str]:
    """Without what never holds, and what stands behind something that always does."""
    found: list[_Answer] = []
    for answer in answers:
        if answer.condition == TRUE:
            return found, answer.text
        if answer.condition != FALSE:
            found.append(answer)
    return found, otherwise


def _packs(answers: Iterable[_Answer]) -> Iterator[list[_Answer]]:
    pack: list[_Answer] = []
    length = 0
    for answer in answers:
        size = len(answer.condition) + len(answer.text) + 20
        # In groups of groups a condition stands once for each level.
        if pack and (length + size) * (1 + math.ceil(math.log(len(pack) + 1, _GROUP))) > LONGEST:
            yield pack
            pack, length = [], 0
        pack.append(answer)
        length += size
    if pack:
        yield pack


def _chosen(answers: Sequence[_Answer], otherwise: str) -> str:
    """The expression that gives the text of the first answer whose condition holds.

    Envoy parses expressions to a depth of 32, so one question inside another is possible for some thirty of them. Here they stand in
    groups of groups: is it one of these at all, and then which?
    """
    if len(answers) <= _GROUP:
        expression = literal(otherwise)
        for answer in reversed(answers):
            expression = if_(answer.condition, literal(answer.text), expression)
        return expression
    size = math.ceil(len(answers) / _GROUP)
    groups = [answers[at : at + size] for at in range(0, len(answers), size)]
    expression = _chosen(groups.pop(), otherwise)
    for group in reversed(groups):
        # Inside it one of them holds, so the last need not be asked.
        expression = if_(any_of([each.condition for each in group]), _chosen(group[:-1], group[-1].text), expression)
    return expression
