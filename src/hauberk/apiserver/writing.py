"""One object is changed: its wishes, its status, or its end."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hauberk.api.document import from_document, to_document
from hauberk.api.manifest import check_document
from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.pod import Pod
from hauberk.api.problem import has_errors, problem
from hauberk.apiserver.admission import Admission
from hauberk.apiserver.author import author_of
from hauberk.apiserver.body import read_json
from hauberk.apiserver.deletion import check_needed
from hauberk.apiserver.lookup import existing, flag, requested_key
from hauberk.apiserver.merge_patch import merge_patch
from hauberk.apiserver.refusal import Refused
from hauberk.apiserver.rules import Rules
from hauberk.apiserver.state import parts
from hauberk.sources.draft import Draft
from hauberk.sources.problems import Conflict
from hauberk.sources.removal import remove

# What a patch may change of the metadata; the rest is the server's. A resourceVersion in it must be the present one.
PATCHABLE = frozenset({"labels", "annotations"})
NAMED = frozenset({"name", "namespace", "uid", "resourceVersion"})


async def patch_object(request: Request) -> Response:
    """PATCH …/{namespace}/{name}: everything but the status."""
    key, patch = requested_key(request), await read_patch(request)
    found = parts(request)
    committed = await found.store.transact(lambda draft: patched(draft, key, patch, found.rules), author=author_of(request))
    return JSONResponse(to_document(committed.value))


async def patch_status(request: Request) -> Response:
    """PATCH …/status: the status only. What is observed is no new generation."""
    return await commit_status(request, requested_key(request), await read_patch(request))


async def commit_status(request: Request, key: ObjectKey, patch: dict[str, Any]) -> Response:
    """The status of the object is as the patch says."""
    committed = await parts(request).store.transact(lambda draft: patched_status(draft, key, patch))
    return JSONResponse(to_document(committed.value))


async def delete_object(request: Request) -> Response:
    """DELETE …/{namespace}/{name}: marked to go or gone; with finalize=true gone for good, as the agent says of a pod it ended."""
    key, final, now = requested_key(request), flag(request, "finalize"), parts(request).now()

    def decide(draft: Draft) -> ApiObject:
        item = existing(draft, key)
        check_uid(request, item)
        if final:
            check_final(item)
            draft.delete(key)
        else:
            check_needed(key, parts(request).rules)
            remove(draft, item, now)
        return draft.get(key) or item

    committed = await parts(request).store.transact(decide, author=author_of(request))
    return JSONResponse(to_document(committed.value))


def check_uid(request: Request, item: ApiObject) -> None:
    """A uid in the query must be the object's: a pod of the same name may have taken its place."""
    asked = request.query_params.get("uid")
    if asked and asked != item.metadata.uid:
        raise Refused(409, problem("HBK0502", f"{item.key} has another uid by now", object=str(item.key)))


def check_final(item: ApiObject) -> None:
    """Only a pod that was marked to go can be said to be gone."""
    if not isinstance(item, Pod) or item.metadata.deletion_timestamp is None:
        message = f"{item.key} is not being deleted, so nobody can have finished with it"
        raise Refused(409, problem("HBK0502", message, object=str(item.key), remedy="delete it first"))


async def read_patch(request: Request) -> dict[str, Any]:
    """The merge patch of the body."""
    patch = await read_json(request)
    if not isinstance(patch, dict):
        raise Refused(400, problem("HBK0505", "a merge patch is a JSON object", remedy="send the fields that are to change"))
    return patch


def patched(draft: Draft, key: ObjectKey, patch: dict[str, Any], rules: Rules) -> ApiObject:
    """The object with the patch laid over it, checked as if it had been applied."""
    item = existing(draft, key)
    check_version(item, patch)
    check_patchable(item, patch)
    document = merge_patch(to_document(item), {name: value for name, value in patch.items() if name != "metadata"})
    document["metadata"] = merge_patch(to_document(item)["metadata"], own_metadata(patch))
    manifest = check_document(document, key.namespace)
    if not manifest.objects:
        raise Refused(422, *manifest.problems)
    admitted, problems = Admission(draft, rules).admit(manifest.objects[0])
    if has_errors(problems):
        raise Refused(422, *problems)
    return draft.put(admitted)


def patched_status(draft: Draft, key: ObjectKey, patch: dict[str, Any]) -> ApiObject:
    """The object with the patch laid over its status."""
    item = existing(draft, key)
    check_version(item, patch)
    if "status" not in type(item).model_fields:
        raise Refused(422, problem("HBK0505", f"a {key.kind} has no status", object=str(key), remedy="patch the object itself"))
    document = to_document(item)
    try:
        changed = from_document(merge_patch(document, {"status": patch.get("status", {})}))
    except ValueError as error:
        raise Refused(422, problem("HBK0104", f"this is no status of a {key.kind}: {error}", object=str(key), path="status")) from error
    return draft.put(item.model_copy(update={"status": getattr(changed, "status")}))  # noqa: B009 - not every kind has one


def own_metadata(patch: dict[str, Any]) -> dict[str, Any]:
    """The part of the patch's metadata that users decide."""
    metadata = patch.get("metadata")
    return {name: value for name, value in metadata.items() if name in PATCHABLE} if isinstance(metadata, dict) else {}


def check_version(item: ApiObject, patch: dict[str, Any]) -> None:
    """A resourceVersion or uid in the patch must be the object's."""
    metadata = patch.get("metadata")
    if not isinstance(metadata, dict):
        return
    present = {"resourceVersion": item.metadata.resource_version, "uid": item.metadata.uid}
    for name, value in present.items():
        asked = metadata.get(name)
        if asked and asked != value:
            raise Conflict(str(item.key), f"{asked} ({name})", value)


def check_patchable(item: ApiObject, patch: dict[str, Any]) -> None:
    """The patch leaves alone what is fixed."""
    fixed = {name for name in ("apiVersion", "kind") if patch.get(name, to_document(item)[name]) != to_document(item)[name]}
    metadata = patch.get("metadata")
    if isinstance(metadata, dict):
        named = {"name": item.metadata.name, "namespace": item.metadata.namespace}
        fixed |= {f"metadata.{name}" for name in metadata.keys() - PATCHABLE - NAMED}
        fixed |= {f"metadata.{name}" for name, value in named.items() if metadata.get(name, value) != value}
    if fixed:
        problems = (problem("HBK0503", f"{name} cannot be patched", object=str(item.key), path=name) for name in sorted(fixed))
        raise Refused(422, *problems)
