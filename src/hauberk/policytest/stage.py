"""What a live test runs: the objects of the files with stub programs in place of the real ones, and a pod for every caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hauberk.api.config_map import ConfigMap
from hauberk.api.document import to_document
from hauberk.api.mesh_config import NAME, ROOT_NAMESPACE
from hauberk.api.metadata import ApiObject
from hauberk.api.peer_authentication import PeerAuthentication
from hauberk.api.pod import Pod
from hauberk.api.request_authentication import JwtRule, RequestAuthentication
from hauberk.api.selector import has_labels
from hauberk.api.service import Service
from hauberk.api.service_account import ServiceAccount
from hauberk.explain.imagine import imagined
from hauberk.explain.question import DEFAULT_NAMESPACE, Question
from hauberk.mesh.protocol import Protocol, port_protocol
from hauberk.mesh.workload import INJECT
from hauberk.policytest.keys import TestKey
from hauberk.policytest.programs import ANSWERING

OUTSIDE: Final = "hauberk-outside"  # the namespace of callers without identity
# Not limits: what a test says of one request would depend on how many were sent before it.
_SECURITY: Final = frozenset({"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"})
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallerPod:
    """The pod that calls as `source`, which is empty for callers without identity."""

    source: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`documents` to be applied, the pods of callers and how many pods there are; `own_mtls`: the files say what is so mesh-wide."""

    documents: tuple[Document, ...]
    callers: Mapping[str, CallerPod]
    pods: int
    own_mtls: bool
    services: Mapping[tuple[str, tuple[tuple[str, str], ...]], str]  # of workloads that are called by their labels

    def service_of(self, question: Question) -> str:
        """The name under which the workload that the question means is called."""
        return self.services[_labelled(question)]


def build_stage(objects: Sequence[ApiObject], questions: Iterable[Question], key: TestKey, python: str) -> Stage:
    """All that the questions need. Programs of `python` stand in for those of the objects."""
    asked = tuple(questions)
    labelled = {_labelled(each): each for each in asked if each.labels}
    given = tuple(imagined(objects, workloads=[(namespace, dict(labels)) for namespace, labels in labelled]))
    services = [each for each in given if isinstance(each, Service)]
    extra = {place: f"hauberk-workload-{index}" for index, place in enumerate(labelled)}
    pods = [each for each in given if isinstance(each, Pod)]
    callers = _callers(asked)
    documents = [
        *(_stub(each, services, _ports_asked(each, labelled), python) for each in pods),
        *(_caller_document(each) for each in callers.values()),
        *map(_service, services),
        *(_workload_service(place, name, labelled[place]) for place, name in extra.items()),
        *(to_document(_unstamped(_with_key(each, key))) for each in objects if each.kind in _SECURITY or _is_settings(each)),
        *(to_document(_unstamped(each)) for each in objects if isinstance(each, ServiceAccount)),
    ]
    documents += _accounts(documents)
    return Stage(
        documents=(*_namespaces(documents), *documents),
        callers=callers,
        pods=len(pods) + len(callers),
        own_mtls=any(isinstance(each, PeerAuthentication) and _is_for_the_mesh(each) for each in objects),
        services=extra,
    )


def _labelled(question: Question) -> tuple[str, tuple[tuple[str, str], ...]]:
    return question.namespace or DEFAULT_NAMESPACE, tuple(sorted(question.labels.items()))


def _callers(asked: Iterable[Question]) -> dict[str, CallerPod]:
    sources = dict.fromkeys(each.source for each in asked)
    return {
        source: CallerPod(source, source.partition("/")[0] or OUTSIDE, f"hauberk-caller-{index}") for index, source in enumerate(sources)
    }


def _caller_document(caller: CallerPod) -> Document:
    account = caller.source.partition("/")[2] or "default"
    labels = {"app": caller.name, **({} if caller.source else {INJECT: "false"})}
    metadata = {"name": caller.name, "namespace": caller.namespace, "labels": labels}
    return _pod(metadata, account, ("sleep", "infinity"))


def _stub(pod: Pod, services: Iterable[Service], asked: Iterable[int], python: str) -> Document:
    metadata, spec = pod.metadata, pod.spec
    declared = [port for each in (*spec.init_containers, *spec.containers) for port in each.ports if port.protocol == "TCP"]
    selecting = [each for each in services if each.metadata.namespace == metadata.namespace and each.spec.selector]
    targets = [
        port.target_port
        for each in selecting
        if has_labels(metadata.labels, each.spec.selector)
        for port in each.spec.ports
        if isinstance(port.target_port, int) and port.protocol == "TCP"
    ]
    numbers = list(dict.fromkeys((*(each.container_port for each in declared), *targets, *asked))) or [80]
    ports = [{"containerPort": each.container_port, **({"name": each.name} if each.name else {})} for each in declared]
    command = (python, "-c", ANSWERING, *map(str, numbers))
    kept = {name: value for name, value in metadata.annotations.items() if name == INJECT}
    place = {"name": metadata.name, "namespace": metadata.namespace or DEFAULT_NAMESPACE}
    return _pod({**place, "labels": dict(metadata.labels), "annotations": kept}, spec.service_account_name, command, ports)


def _pod(metadata: Document, account: str, command: tuple[str, ...], ports: Sequence[Document] = ()) -> Document:
    container = {"name": "app", "command": list(command), **({"ports": list(ports)} if ports else {})}
    spec = {"serviceAccountName": account, "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _ports_asked(pod: Pod, labelled: Mapping[tuple[str, tuple[tuple[str, str], ...]], Question]) -> list[int]:
    return [
        each.port
        for (namespace, labels), each in labelled.items()
        if each.port and namespace == pod.metadata.namespace and has_labels(pod.metadata.labels, dict(labels))
    ]


def _service(service: Service) -> Document:
    ports = [
        {
            "port": each.port,
            "targetPort": each.target_port,
            "protocol": each.protocol,
            **({"name": each.name} if each.name else {}),
            **_protocol(port_protocol(each), each.app_protocol),
        }
        for each in service.spec.ports
    ]
    headless = {"clusterIP": "None"} if service.headless else {}
    spec: Document = {"ports": ports, "selector": dict(service.spec.selector), **headless}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _place(service), "spec": spec}


def _protocol(protocol: Protocol, declared: str | None) -> Document:
    # The stub speaks HTTP/1.1; to policies a request is the same.
    if protocol.is_http:
        return {"appProtocol": "http"}
    return {"appProtocol": declared} if declared else {}


def _workload_service(place: tuple[str, tuple[tuple[str, str], ...]], name: str, question: Question) -> Document:
    namespace, labels = place
    port = {"name": "http" if question.asks_http else "tcp", "port": question.port or 80}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [port], "selector": dict(labels)}}


def _with_key(item: ApiObject, key: TestKey) -> ApiObject:
    if not isinstance(item, RequestAuthentication):
        return item

    def rule(each: JwtRule) -> JwtRule:
        return each.model_copy(update={"jwks": key.added_to(each.jwks), "jwks_uri": ""})

    return item.model_copy(update={"spec": item.spec.model_copy(update={"jwt_rules": tuple(map(rule, item.spec.jwt_rules))})})


def _accounts(documents: Iterable[Document]) -> list[Document]:
    given = list(documents)
    known = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in given if each["kind"] == "ServiceAccount"}
    wanted = {(each["metadata"]["namespace"], each["spec"]["serviceAccountName"]) for each in given if each["kind"] == "Pod"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}}
        for namespace, name in sorted(wanted - known)
        if name != "default"
    ]


def _namespaces(documents: Iterable[Document]) -> Iterator[Document]:
    for name in sorted({each["metadata"].get("namespace", DEFAULT_NAMESPACE) for each in documents}):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _unstamped(item: ApiObject) -> ApiObject:
    """Without what only a store gives."""
    kept = item.metadata.model_copy(update={"uid": "", "resource_version": "", "generation": 0})
    return item.model_copy(update={"metadata": kept})


def _place(item: ApiObject) -> Document:
    return {"name": item.metadata.name, "namespace": item.metadata.namespace}


def _is_settings(item: ApiObject) -> bool:
    return isinstance(item, ConfigMap) and (item.metadata.namespace, item.metadata.name) == (ROOT_NAMESPACE, NAME)


def _is_for_the_mesh(policy: PeerAuthentication) -> bool:
    return policy.metadata.namespace == ROOT_NAMESPACE and not policy.spec.selector.match_labels
