"""The API as the agent of another machine has it: what it needs for the pods of its own machine, and nothing else.

An allow-list: what is not a route here does not exist for it. The node is the one that the connection was authenticated as; nothing in
a request can change it.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hauberk.api.container import Container
from hauberk.api.mesh_config import NAME, ROOT_NAMESPACE
from hauberk.api.metadata import ObjectKey
from hauberk.api.pod import Pod
from hauberk.api.problem import problem
from hauberk.apiserver import server
from hauberk.apiserver.body import read_request
from hauberk.apiserver.decisions import DecisionsRequest, answer
from hauberk.apiserver.lookup import absent, flag, requested_key
from hauberk.apiserver.mesh import get_names, get_ready, get_status
from hauberk.apiserver.reading import answer_question, get_object, requested
from hauberk.apiserver.refusal import HANDLERS, Refused
from hauberk.apiserver.state import Parts, parts
from hauberk.apiserver.writing import commit_status, delete_object, read_patch

_PODS = "/v1/objects/pods"
_POD = _PODS + "/{namespace}/{name}"
SETTINGS = ObjectKey("ConfigMap", ROOT_NAMESPACE, NAME)  # they also say which processes of a machine have which identity


def build_remote_app(found: Parts, node: str) -> Starlette:
    """The API of the agent of `node` as an ASGI application."""
    app = Starlette(routes=list(_ROUTES), exception_handlers=HANDLERS)
    app.state.parts = found
    app.state.node = node
    return app


async def serve_node(found: Parts, node: str, path: Path) -> None:
    """Answers the agent of `node` on the socket until cancelled."""
    # The end of one machine's API is not the end of the others'.
    own = replace(found, ending=asyncio.Event())
    own.started = found.started
    await server.serve_app(build_remote_app(own, node), own, path)


async def get_own_pods(request: Request) -> Response:
    """GET …/pods: those of the node, as a List or a watch."""
    request.path_params["plural"] = "pods"
    question, node = requested(request), _node(request)
    question.visible = lambda item: isinstance(item, Pod) and item.spec.node_name == node
    return answer_question(request, question)


async def get_own_pod(request: Request) -> Response:
    """GET …/pods/{namespace}/{name}."""
    _require_own(request)
    return await get_object(request)


async def patch_own_status(request: Request) -> Response:
    """PATCH …/pods/{namespace}/{name}/status."""
    patch = await read_patch(request)
    metadata = patch.get("metadata")
    key = _require_own(request, str(metadata.get("uid", "")) if isinstance(metadata, dict) else "")
    return await commit_status(request, key, patch)


async def finalize_own_pod(request: Request) -> Response:
    """DELETE …/pods/{namespace}/{name}?finalize=true: nothing is left of a pod that was marked to go. It marks none itself."""
    if not flag(request, "finalize"):
        raise _refused("an agent does not delete pods, it only says that one is gone (finalize=true)")
    _require_own(request, request.query_params.get("uid", ""))
    return await delete_object(request)


async def get_settings(request: Request) -> Response:
    """GET …/configmaps: the mesh's settings alone, as a List or a watch."""
    request.path_params["plural"] = "configmaps"
    question = requested(request)
    question.visible = lambda item: item.key == SETTINGS
    return answer_question(request, question)


async def get_referenced_config_map(request: Request) -> Response:
    """GET …/configmaps/{namespace}/{name}: the mesh's settings, or if a pod of the node takes a variable from it."""
    request.path_params["plural"] = "configmaps"
    key = requested_key(request)
    if key == SETTINGS:
        return await get_object(request)
    pods = (pod for pod in parts(request).store.of(Pod) if pod.spec.node_name == _node(request))
    if not any(pod.metadata.namespace == key.namespace and key.name in referenced(pod) for pod in pods):
        raise _refused(f"no pod of node {_node(request)} refers to {key}")
    return await get_object(request)


async def get_own_status(request: Request) -> Response:
    """GET /v1/status: the control plane, and the proxies of the node's own pods."""
    whole = await get_status(request)
    return JSONResponse(own_status(request, whole))


async def judge_own_connections(request: Request) -> Response:
    """POST /v1/decisions: about connections to one of the node's own pods."""
    asked = await read_request(request, DecisionsRequest)
    pod = parts(request).store.find(Pod, asked.namespace, asked.pod)
    if pod is None or pod.spec.node_name != _node(request):
        raise absent(ObjectKey("Pod", asked.namespace, asked.pod))
    return await answer(request, asked)


def own_status(request: Request, whole: Response) -> dict[str, Any]:
    """What of the status concerns the node."""
    document = json.loads(bytes(whole.body))
    store, node = parts(request).store, _node(request)

    def ours(proxy: dict[str, Any]) -> bool:
        pod = store.find(Pod, str(proxy.get("namespace")), str(proxy.get("pod")))
        return pod is not None and pod.spec.node_name == node

    return {"controlPlane": document["controlPlane"], "proxies": [each for each in document["proxies"] if ours(each)], "problems": []}


def referenced(pod: Pod) -> frozenset[str]:
    """Names of the ConfigMaps that the pod's programs take variables from."""

    def names(containers: Iterable[Container]) -> Iterable[str]:
        for container in containers:
            for variable in container.env:
                if variable.value_from is not None and variable.value_from.config_map_key_ref is not None:
                    yield variable.value_from.config_map_key_ref.name

    return frozenset(names((*pod.spec.init_containers, *pod.spec.containers)))


def _require_own(request: Request, uid: str | None = None) -> ObjectKey:
    """The pod runs on the node, and is the one with that uid: another of its name may take its place before the change is made."""
    request.path_params["plural"] = "pods"
    key = requested_key(request)
    pod = parts(request).store.find(Pod, key.namespace, key.name)
    if pod is None or pod.spec.node_name != _node(request):
        # The same answer to both: what runs elsewhere is no business of this machine.
        raise absent(key)
    if uid is not None and uid != pod.metadata.uid:
        raise Refused(409, problem("HBK0502", f"{key} has another uid than {uid!r}", object=str(key)))
    return key


def _node(request: Request) -> str:
    node: str = request.app.state.node
    return node


def _refused(message: str) -> Refused:
    return Refused(403, problem("HBK0506", message, remedy="ask on the control plane's own machine"))


_ROUTES = (
    Route(_PODS, get_own_pods, methods=["GET"]),
    Route(_POD, get_own_pod, methods=["GET"]),
    Route(_POD, finalize_own_pod, methods=["DELETE"]),
    Route(_POD + "/status", patch_own_status, methods=["PATCH"]),
    Route("/v1/objects/configmaps", get_settings, methods=["GET"]),
    Route("/v1/objects/configmaps/{namespace}/{name}", get_referenced_config_map, methods=["GET"]),
    Route("/v1/decisions", judge_own_connections, methods=["POST"]),
    Route("/v1/names", get_names, methods=["GET"]),
    Route("/v1/readyz", get_ready, methods=["GET"]),
    Route("/v1/status", get_own_status, methods=["GET"]),
)
