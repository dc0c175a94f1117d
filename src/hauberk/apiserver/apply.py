"""Apply: files become objects, all of them or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hauberk.api.finding import Finding
from hauberk.api.manifest import DEFAULT_NAMESPACE, Manifest, join_manifests, parse_manifest
from hauberk.api.metadata import ApiObject, Metadata, ObjectKey
from hauberk.api.namespace import Namespace
from hauberk.api.origin import Origin
from hauberk.api.problem import Problem, has_errors
from hauberk.api.service_account import ServiceAccount
from hauberk.apiserver.admission import Admission
from hauberk.apiserver.body import Body
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.rules import Rules
from hauberk.sources.draft import Draft

Result = Literal["created", "configured", "unchanged"]


class File(Body):
    """A file as the user named it, and what is in it."""

    name: str
    text: str


class ApplyRequest(Body):
    """`namespace` is that of documents which name none. `wait`: seconds for every proxy concerned to acknowledge; None does not wait."""

    files: tuple[File, ...]
    namespace: str | None = None
    dry_run: bool = False
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of each object, in the order of the files, and the warnings."""

    results: tuple[tuple[ObjectKey, Result], ...]
    problems: tuple[Problem, ...]

    def to_json(self, *more: Problem) -> dict[str, Any]:
        """Without what became of it at the proxies; `more` problems were found outside of the transaction."""
        applied = [{"kind": key.kind, "namespace": key.namespace, "name": key.name, "result": result} for key, result in self.results]
        return {"applied": applied, "problems": [each.to_json() for each in (*self.problems, *more)]}


def parse_files(files: Sequence[File], namespace: str | None) -> Manifest:
    """The objects of all files. Pure, and slow for large files."""
    return join_manifests(tuple(parse_manifest(each.text, each.name, namespace or DEFAULT_NAMESPACE) for each in files))


def decide_apply(draft: Draft, wanted: Manifest, rules: Rules) -> Applied:
    """The draft has all objects as the files want them; Refused with every problem if one of them has an error."""
    problems = list(wanted.problems)
    admission = Admission(draft, rules)
    results: dict[ObjectKey, Result] = {}
    # Namespaces first, wherever they stand in the files: the others need them.
    for item in sorted(wanted.objects, key=lambda each: not isinstance(each, Namespace)):
        origin = wanted.origin(item.key)
        admitted, found = admission.admit(item, origin)
        problems.extend(found)
        if not has_errors(found):
            result, conflict = put(draft, admitted, origin)
            results[item.key] = result
            problems.extend(conflict)
    if has_errors(problems):
        raise Refused(422, *problems, also={"applied": [], "affected": 0, "acknowledged": 0, "seconds": 0.0})
    return Applied(tuple((item.key, results[item.key]) for item in wanted.objects), tuple(problems))


def put(draft: Draft, item: ApiObject, origin: Origin) -> tuple[Result, tuple[Problem, ...]]:
    """What the object became; a resourceVersion in it must be the present one."""
    present = draft.get(item.key)
    found, asked = ("" if present is None else present.metadata.resource_version), item.metadata.resource_version
    if asked and asked != found:
        told = f"the document was made from resourceVersion {asked}, the object is at {found or 'none'}"
        return "unchanged", (origin.problem(Finding("HBK0502", ("metadata", "resourceVersion"), told), str(item.key)),)
    stored = draft.put(item)
    if isinstance(stored, Namespace) and present is None:
        furnish(draft, stored.metadata.name)
    if present is None:
        return "created", ()
    return ("unchanged" if stored is present else "configured"), ()


def furnish(draft: Draft, namespace: str) -> None:
    """The namespace has the ServiceAccount that pods run as when they name none."""
    if draft.find(ServiceAccount, namespace, "default") is None:
        draft.put(ServiceAccount(metadata=Metadata(name="default", namespace=namespace)))
