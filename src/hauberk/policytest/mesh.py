"""The mesh that test files are about: their objects, asked as often as there are cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.dry_run import DRY_RUN
from hauberk.api.manifest import Manifest
from hauberk.api.metadata import ApiObject
from hauberk.explain.explain import EPOCH, explain
from hauberk.explain.explanation import Explanation
from hauberk.explain.imagine import imagined
from hauberk.explain.places import Origins
from hauberk.explain.question import DEFAULT_NAMESPACE, Question
from hauberk.explain.rulesets import Rulesets
from hauberk.mesh.settings import MeshSettings
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot


class TestedMesh:
    """A fresh mesh with the objects of `manifest`, federated with the foreign trust domains that callers come from."""

    __test__ = False

    def __init__(self, manifest: Manifest, questions: Iterable[Question] = (), *, now: datetime = EPOCH) -> None:
        self.manifest = manifest
        self._questions = tuple(questions)
        self._origins = Origins(manifest.origins)
        self._now = now
        self._enforced: dict[tuple[str, bool], Rulesets] = {}

    @cached_property
    def settings(self) -> MeshSettings:
        """With the foreign trust domains."""
        own = build_snapshot(self._settled, None).config
        foreign = {each.trust_domain for each in self._questions} - {"", own.trust_domain, *own.trust_domain_aliases}
        return MeshSettings(foreign_trust_domains=tuple(sorted(foreign)))

    @cached_property
    def _settled(self) -> tuple[ApiObject, ...]:
        return tuple(each for each in self.manifest.objects if each.kind == "ConfigMap")

    @cached_property
    def snapshot(self) -> MeshSnapshot:
        """The mesh of the files."""
        return build_snapshot(imagined(self.manifest.objects), None, self.settings)

    @cached_property
    def _rulesets(self) -> Rulesets:
        return Rulesets(self.snapshot)

    @cached_property
    def _with_workloads(self) -> Rulesets:
        # Apart: a workload that only a test knows would answer for every Service whose selector it matches, in all other tests too.
        return Rulesets(build_snapshot(imagined(self.manifest.objects, workloads=self._asked), self.snapshot, self.settings))

    @property
    def _asked(self) -> list[tuple[str, Mapping[str, str]]]:
        return [(each.namespace or DEFAULT_NAMESPACE, each.labels) for each in self._questions if each.labels]

    def explain(self, question: Question, *, trace: bool = True) -> Explanation:
        """The answer of the mesh as it is; without `trace` quicker, and without how every policy fared."""
        mesh = self._with_workloads if question.labels else self._rulesets
        return explain(mesh, question, self._origins, now=self._now, trace=trace)

    def explain_enforced(self, question: Question, policy: str) -> Explanation:
        """The answer if the dry-run policy `policy` (NAMESPACE/NAME) were enforced; KeyError if there is no such policy."""
        key = policy, bool(question.labels)
        if key not in self._enforced:
            found = [self._enforce(each, policy) for each in self.manifest.objects]
            if all(one is other for one, other in zip(found, self.manifest.objects, strict=True)):
                raise KeyError(policy)
            imaginary = imagined(found, workloads=self._asked if question.labels else ())
            self._enforced[key] = Rulesets(build_snapshot(imaginary, None, self.settings))
        return explain(self._enforced[key], question, self._origins, now=self._now)

    @staticmethod
    def _enforce(item: ApiObject, policy: str) -> ApiObject:
        metadata = item.metadata
        if not isinstance(item, AuthorizationPolicy) or not item.dry_run or f"{metadata.namespace}/{metadata.name}" != policy:
            return item
        annotations = {name: value for name, value in metadata.annotations.items() if name != DRY_RUN}
        return item.model_copy(update={"metadata": metadata.model_copy(update={"annotations": annotations})})
