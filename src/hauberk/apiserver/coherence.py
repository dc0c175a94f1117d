"""Objects that are right by themselves and do not fit together, or say what their writer cannot mean: warnings, never refusals.

The other half may come later; what there is to say is the analysis's business (`hauberk.analysis`).
"""

from collections.abc import Callable, Iterable

from hauberk.analysis.analyze import analyze, remarks_of
from hauberk.analysis.remark import Remark
from hauberk.analysis.world import World
from hauberk.api.kinds import KINDS
from hauberk.api.manifest import Manifest
from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.problem import Problem
from hauberk.apiserver.state import Parts

Objects = Callable[[str], tuple[ApiObject, ...]]
NOTHING = Manifest()


def whole_world(objects: Objects, found: Parts) -> World:
    """The mesh as `objects` has it now, whatever changes meanwhile."""
    kept = {kind.name: objects(kind.name) for kind in KINDS}
    return World(objects=lambda kind: kept.get(kind, ()), root_namespace=found.rules.root_namespace, whole=True, foreign=_foreign(found))


def quick_problems(world: World, wanted: Manifest) -> tuple[Problem, ...]:
    """What is to be said of the objects of the files without comparing all rules with each other: an apply must not wait for that."""
    present = {item.key: item for kind in {key.kind for key in wanted.origins} for item in world.objects(kind)}
    found = (remark for item in wanted.objects if item.key in present for remark in remarks_of(present[item.key], world))
    # Infos are for whoever asks what there is to say.
    return tuple(each for each in as_problems(found, wanted) if each.severity != "info")


def all_problems(world: World, wanted: Manifest) -> tuple[Problem, ...]:
    """Everything that is to be said of the objects of the files, or would not be without them."""
    return as_problems(analyze(world, wanted.origins.keys()), wanted)


def as_problems(remarks: Iterable[Remark], wanted: Manifest = NOTHING) -> tuple[Problem, ...]:
    """The remarks with their places in the files, where they are about objects of files."""
    return tuple(wanted.origin(each.about).problem(each.finding, str(each.about)) for each in remarks)


def of_namespace(remarks: Iterable[Remark], namespace: str | None) -> tuple[Remark, ...]:
    """Those about objects of one namespace, or all."""
    return tuple(each for each in remarks if namespace is None or _namespace(each.about) == namespace)


def _namespace(key: ObjectKey) -> str:
    return key.name if key.kind == "Namespace" else key.namespace


def _foreign(found: Parts) -> tuple[str, ...] | None:
    if found.federator is None:
        return None
    return tuple(str(each["trustDomain"]) for each in found.federator.federation().get("items", ()))
