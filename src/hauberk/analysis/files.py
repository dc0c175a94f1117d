"""Files by themselves, without a mesh: in continuous integration, before anything is applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hauberk.analysis.analyze import analyze, world_of
from hauberk.api.manifest import join_manifests, parse_manifest
from hauberk.api.mesh_config import ROOT_NAMESPACE
from hauberk.api.problem import Problem


def analyze_files(files: Iterable[Mapping[str, str]], namespace: str) -> tuple[Problem, ...]:
    """Every problem of the objects of these files (`name` and `text` each), by themselves and together."""
    found = join_manifests(tuple(parse_manifest(each["text"], each["name"], namespace) for each in files))
    world = world_of(found.objects, root_namespace=ROOT_NAMESPACE, whole=False)
    remarks = (found.origin(each.about).problem(each.finding, str(each.about)) for each in analyze(world))
    return (*found.problems, *remarks)
