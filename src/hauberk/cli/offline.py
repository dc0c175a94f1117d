"""A mesh that is only files: asked by `explain -f`, without anything running."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hauberk.api.manifest import DEFAULT_NAMESPACE, Manifest, join_manifests, parse_manifest
from hauberk.api.problem import has_errors
from hauberk.cli.connection import tell_problems
from hauberk.cli.failure import Failure
from hauberk.cli.options import read_files
from hauberk.explain.ask import read_question
from hauberk.explain.explain import explain
from hauberk.explain.imagine import imagined
from hauberk.explain.places import Origins
from hauberk.explain.question import Question, Unanswerable
from hauberk.mesh.settings import MeshSettings
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot


@dataclass(frozen=True)
class OfflineMesh:
    """The objects of files as a fresh mesh would have them."""

    manifest: Manifest

    @classmethod
    def read(cls, files: tuple[str, ...], namespace: str) -> OfflineMesh:
        """The mesh of these files; Failure if one of them has an error."""
        parsed = (parse_manifest(each["text"], each["name"], namespace or DEFAULT_NAMESPACE) for each in read_files(files))
        manifest = join_manifests(tuple(parsed))
        errors = [each for each in manifest.problems if each.severity == "error"]
        tell_problems([each.to_json() for each in errors])
        if has_errors(errors):
            raise Failure("the files have errors", "nothing can be said about a mesh that would not take them", "correct the errors above")
        return cls(manifest)

    def snapshot(self, question: Question) -> MeshSnapshot:
        """The mesh, federated with the trust domain that the caller is of."""
        labelled = ((question.namespace or DEFAULT_NAMESPACE, question.labels),) if question.labels else ()
        foreign = (question.trust_domain,) if question.trust_domain else ()
        own = build_snapshot(imagined(self.manifest.objects, workloads=labelled), None)
        domains = tuple(each for each in foreign if each not in (own.config.trust_domain, *own.config.trust_domain_aliases))
        if not domains:
            return own
        return build_snapshot(imagined(self.manifest.objects, workloads=labelled), None, MeshSettings(foreign_trust_domains=domains))

    def explain(self, document: dict[str, Any]) -> dict[str, Any]:
        """The answer, in the API's shape."""
        try:
            question = read_question(document)
            return explain(self.snapshot(question), question, Origins(self.manifest.origins), now=datetime.now(UTC)).to_json()
        except Unanswerable as error:
            raise Failure(str(error), "", error.in_files) from error
