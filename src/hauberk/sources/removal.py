"""How objects go: a pod is asked to end first, a namespace takes all that is in it along."""

from datetime import datetime

from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.namespace import Namespace
from hauberk.api.pod import Pod
from hauberk.sources.draft import Draft


def remove(draft: Draft, item: ApiObject, now: datetime) -> None:
    """The object is gone, or, where something still has to end first, marked to go."""
    match item:
        case Pod():
            # Its programs run: the agent ends them, and only then removes the object.
            mark_going(draft, item, now)
        case Namespace():
            _remove_namespace(draft, item, now)
        case _:
            draft.delete(item.key)


def mark_going(draft: Draft, item: ApiObject, now: datetime) -> None:
    """The object has a deletionTimestamp; the first one it got stays."""
    if item.metadata.deletion_timestamp is None:
        draft.put(item.model_copy(update={"metadata": item.metadata.model_copy(update={"deletion_timestamp": now})}))


def _remove_namespace(draft: Draft, namespace: Namespace, now: datetime) -> None:
    mark_going(draft, namespace, now)
    for item in objects_in(draft, namespace.metadata.name):
        remove(draft, item, now)
    finish_namespace(draft, namespace.metadata.name)


def finish_namespace(draft: Draft, name: str) -> bool:
    """Whether the namespace, marked to go before, is gone: nothing is in it any more."""
    namespace = draft.find(Namespace, "", name)
    if namespace is None or namespace.metadata.deletion_timestamp is None or objects_in(draft, name):
        return False
    draft.delete(ObjectKey(namespace.kind, "", name))
    return True


def objects_in(draft: Draft, namespace: str) -> tuple[ApiObject, ...]:
    """Every object of a namespace, of whatever kind."""
    return tuple(item for kind in draft.kinds() for item in draft.objects(kind) if item.metadata.namespace == namespace)
