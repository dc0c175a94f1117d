"""Delete: by files or by names."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hauberk.api.manifest import DEFAULT_NAMESPACE, Manifest
from hauberk.api.mesh_config import NAME, MeshConfig
from hauberk.api.metadata import ObjectKey
from hauberk.api.problem import Problem, problem
from hauberk.apiserver.apply import File
from hauberk.apiserver.body import Body
from hauberk.apiserver.lookup import find_kind, make_key
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.rules import Rules
from hauberk.sources.draft import Draft
from hauberk.sources.removal import remove


class DeleteRequest(Body):
    """What is to go: all that `files` declare, or the objects of `kind` by `names`.

    `wait`: seconds until they must be gone and every proxy concerned must know it; None does not wait.
    """

    files: tuple[File, ...] = ()
    kind: str = ""
    names: tuple[str, ...] = ()
    namespace: str | None = None
    ignore_not_found: bool = False
    dry_run: bool = False
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """The objects that are gone or going (by uid: their names may be taken anew), and what was not there."""

    keys: tuple[ObjectKey, ...]
    uids: tuple[str, ...]
    problems: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        """Without what became of it at the proxies."""
        deleted = [{"kind": key.kind, "namespace": key.namespace, "name": key.name} for key in self.keys]
        return {"deleted": deleted, "problems": [each.to_json() for each in self.problems]}


def requested_keys(request: DeleteRequest, wanted: Manifest) -> tuple[tuple[ObjectKey, ...], tuple[Problem, ...]]:
    """The objects that are meant. An object of a file that has errors is meant too if it can be told which it is; others are problems."""
    if request.kind:
        kind = find_kind(request.kind)
        return tuple(make_key(kind, request.namespace or DEFAULT_NAMESPACE, name) for name in request.names), ()
    # Back to front: files declare a namespace before what is in it.
    keys = tuple(item.key for item in reversed(wanted.objects))
    return keys, tuple(each for each in wanted.problems if each.severity == "error")


def decide_delete(draft: Draft, keys: Iterable[ObjectKey], rules: Rules, now: datetime, *, ignore_absent: bool) -> Deleted:
    """The objects are gone or marked to go; those that are not there are problems, those that must stay refuse everything."""
    gone: dict[ObjectKey, str] = {}
    problems: list[Problem] = []
    for key in keys:
        check_needed(key, rules)
        item = draft.get(key)
        if item is not None:
            gone[key] = item.metadata.uid
            remove(draft, item, now)
        elif key not in gone and not ignore_absent:
            problems.append(problem("HBK0501", f"there is no {key}", object=str(key)))
    return Deleted(tuple(gone), tuple(gone.values()), tuple(problems))


def check_needed(key: ObjectKey, rules: Rules) -> None:
    """The mesh can do without the object."""
    if key.kind == "Namespace" and key.name in ("default", rules.root_namespace):
        raise Refused(422, problem("HBK0509", f"namespace {key.name} belongs to the mesh itself", object=str(key)))
    settings = ObjectKey("ConfigMap", rules.root_namespace, NAME)
    if key == settings and (fault := rules.naming_fault(MeshConfig().trust_domain, ())):
        raise Refused(422, problem("HBK0509", f"{key} names the trust domain, and without it {fault[0]}", remedy=fault[1], object=str(key)))
