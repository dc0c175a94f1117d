"""The policies of a mesh, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from hauberk.api.metadata import ObjectKey
from hauberk.explain.layers import trust_domains
from hauberk.mesh.external_authorizer import Authorizer, Authorizers, find_authorizers
from hauberk.mesh.inbound import Inbound
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.attribute import Kind
from hauberk.policy.decision import Meshwide, build_ruleset
from hauberk.policy.rule import NormalRule, Question
from hauberk.policy.ruleset import Paths, Ruleset

_ADDRESSES: Final = frozenset({Kind.DIRECT_IP, Kind.REMOTE_IP, Kind.DESTINATION_IP})


@dataclass(frozen=True, slots=True)
class Ready:
    """The policies of a workload, ready to be asked, and the addresses that they ask about."""

    ruleset: Ruleset
    addresses: frozenset[Kind]


class Rulesets:
    """Those of one mesh. Whoever has many questions keeps it: hundreds of them are about a few workloads."""

    def __init__(self, snapshot: MeshSnapshot) -> None:
        self.snapshot: Final = snapshot
        self._ready: Final[dict[ObjectKey, Ready]] = {}

    def of(self, inbound: Inbound) -> Ready:
        """Those of a workload of the mesh."""
        found = self._ready.get(inbound.workload)
        if found is None:
            found = self._ready[inbound.workload] = self._make(inbound)
        return found

    @cached_property
    def authorizers(self) -> Authorizers:
        """The external services of the mesh."""
        snapshot = self.snapshot
        return find_authorizers(snapshot.config, snapshot.services, snapshot.settings.cluster_domain)

    def _make(self, inbound: Inbound) -> Ready:
        ruleset = build_ruleset(inbound.policies, self._meshwide, inbound.limits)
        asked = (each.attribute.kind for policy in ruleset.policies for rule in policy.rules for each in questions_about(rule, _ADDRESSES))
        return Ready(ruleset, frozenset(asked))

    @cached_property
    def _meshwide(self) -> Meshwide:
        config = self.snapshot.config
        return Meshwide(
            root_namespace=self.snapshot.settings.root_namespace,
            domains=trust_domains(self.snapshot),
            paths=Paths(config.path_normalization.normalization, config.hauberk.ambiguous_paths == "ALLOW"),
            providers=frozenset(name for name, each in self.authorizers.items() if isinstance(each, Authorizer)),
        )


def questions_about(rule: NormalRule, kinds: frozenset[Kind]) -> tuple[Question, ...]:
    """The questions of a rule about these kinds, such as those that nobody can answer."""
    alternatives = (*rule.sources, *rule.operations, rule.conditions)
    return tuple(each for alternative in alternatives for each in alternative if each.attribute.kind in kinds)
