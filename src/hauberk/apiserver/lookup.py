"""Kinds and objects as requests name them."""

from starlette.requests import Request

from hauberk.api.kinds import KINDS, Kind, kind_called
from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.problem import problem
from hauberk.api.selector import Selector, SelectorSyntaxError, parse_selector
from hauberk.apiserver.refusal import Refused
from hauberk.sources.draft import Draft
from hauberk.sources.store import Store

NO_NAMESPACE = "-"  # in a path, for kinds that belong to none


def find_kind(word: str) -> Kind:
    """The kind called so, by its name, plural or short name."""
    kind = kind_called(word)
    if kind is None:
        known = ", ".join(sorted(each.plural for each in KINDS))
        raise Refused(404, problem("HBK0505", f"there is no kind {word!r}", remedy=f"known are {known}"))
    return kind


def requested_kind(request: Request) -> Kind:
    """The kind of the path."""
    return find_kind(str(request.path_params["plural"]))


def requested_key(request: Request) -> ObjectKey:
    """The object of the path, whether it exists or not."""
    return make_key(requested_kind(request), str(request.path_params["namespace"]), str(request.path_params["name"]))


def make_key(kind: Kind, namespace: str, name: str) -> ObjectKey:
    """The key of an object; a namespace given for a kind that has none is left out."""
    return ObjectKey(kind.name, "" if not kind.namespaced or namespace == NO_NAMESPACE else namespace, name)


def absent(key: ObjectKey) -> Refused:
    """404 for an object."""
    return Refused(404, problem("HBK0501", f"there is no {key}", object=str(key)))


def existing(objects: Store | Draft, key: ObjectKey) -> ApiObject:
    """The object, or 404."""
    found = objects.get(key)
    if found is None:
        raise absent(key)
    return found


def requested_selector(request: Request) -> Selector:
    """The labelSelector of the query."""
    try:
        return parse_selector(request.query_params.get("labelSelector", ""))
    except SelectorSyntaxError as error:
        raise Refused(400, problem("HBK0505", str(error), remedy="correct the label selector")) from error


def flag(request: Request, name: str) -> bool:
    """A truth value of the query."""
    return request.query_params.get(name, "").lower() in ("1", "true", "yes")
