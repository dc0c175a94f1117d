"""Files as a mesh: what would run and have addresses if these objects were applied to a fresh mesh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Final, TypeVar

from hauberk.api.condition import Condition
from hauberk.api.container import Container, ContainerPort
from hauberk.api.deployment import Deployment
from hauberk.api.mesh_config import ROOT_NAMESPACE
from hauberk.api.metadata import ApiObject, Metadata
from hauberk.api.peer_authentication import Mtls, MtlsMode, PeerAuthentication, PeerAuthenticationSpec
from hauberk.api.pod import Pod, PodSpec
from hauberk.api.pod_status import PodIP, PodStatus
from hauberk.api.selector import has_labels
from hauberk.api.service import Service

_T = TypeVar("_T", bound=ApiObject)
_IMAGINED: Final = ("198.18.", "198.19.")  # RFC 2544: in use nowhere
_FIRST_NAMED: Final = 20_000  # numbers for ports that nobody has given one


def imagined(objects: Iterable[ApiObject], *, workloads: Iterable[tuple[str, Mapping[str, str]]] = ()) -> tuple[ApiObject, ...]:
    """`objects` as they would be in a mesh: every Deployment with a pod, every pod running with an address, every Service with one.

    A Service that nothing in the files answers for is given a pod of its selector's labels, and so is each of `workloads` (namespace
    and labels): rules about labels are what files of policies have to be tested for, and programs are often declared elsewhere.
    Without a PeerAuthentication for the whole mesh there is that of a fresh mesh, which says STRICT.
    """
    given = tuple(objects)
    addresses = _addresses()
    pods = [*_of(Pod, given), *map(_pod_of, _of(Deployment, given))]
    services = list(_of(Service, given))
    pods += [_stand_in(service) for service in services if service.spec.selector and not _answered(service, pods)]
    pods += [
        _labelled(namespace, labels, index) for index, (namespace, labels) in enumerate(workloads) if not _exists(namespace, labels, pods)
    ]
    rest = [each for each in given if not isinstance(each, Pod | Service)]
    if not any(_is_for_the_mesh(each) for each in _of(PeerAuthentication, given)):
        rest.append(_strict())
    return (*rest, *(_addressed(each, next(addresses)) for each in services), *(_running(each, next(addresses)) for each in pods))


def _of(kind: type[_T], objects: Iterable[ApiObject]) -> Iterator[_T]:
    return (each for each in objects if isinstance(each, kind))


def known_address(addresses: Iterable[str]) -> str | None:
    """The first address that something really has: those of files are made up, and no policy may be held against them."""
    return next((each for each in addresses if not each.startswith(_IMAGINED)), None)


def _addresses() -> Iterator[str]:
    return (f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}" for number in count(1))


def _pod_of(deployment: Deployment) -> Pod:
    template, metadata = deployment.spec.template, deployment.metadata
    made = Metadata(
        name=metadata.name, namespace=metadata.namespace, labels=template.metadata.labels, annotations=template.metadata.annotations
    )
    return Pod(metadata=made, spec=template.spec)


def _stand_in(service: Service) -> Pod:
    named = dict.fromkeys(each.target_port for each in service.spec.ports if isinstance(each.target_port, str))
    ports = tuple(ContainerPort(name=name, container_port=_FIRST_NAMED + index) for index, name in enumerate(named))
    metadata = Metadata(name=service.metadata.name, namespace=service.metadata.namespace, labels=service.spec.selector)
    return Pod(metadata=metadata, spec=PodSpec(containers=(Container(name="app", ports=ports),)))


def _labelled(namespace: str, labels: Mapping[str, str], index: int) -> Pod:
    return Pod(
        metadata=Metadata(name=f"imagined-{index}", namespace=namespace, labels=labels), spec=PodSpec(containers=(Container(name="app"),))
    )


def _answered(service: Service, pods: Iterable[Pod]) -> bool:
    return _exists(service.metadata.namespace, service.spec.selector, pods)


def _exists(namespace: str, labels: Mapping[str, str], pods: Iterable[Pod]) -> bool:
    return any(pod.metadata.namespace == namespace and has_labels(pod.metadata.labels, labels) for pod in pods)


def _running(pod: Pod, address: str) -> Pod:
    ready = (Condition(type="Ready", status="True"),)
    return pod.model_copy(update={"status": PodStatus(phase="Running", pod_ip=address, pod_ips=(PodIP(ip=address),), conditions=ready)})


def _addressed(service: Service, address: str) -> Service:
    if service.spec.cluster_ip or service.spec.cluster_ips:
        return service
    return service.model_copy(update={"spec": service.spec.model_copy(update={"cluster_ip": address, "cluster_ips": (address,)})})


def _is_for_the_mesh(policy: PeerAuthentication) -> bool:
    return policy.metadata.namespace == ROOT_NAMESPACE and not policy.spec.selector.match_labels


def _strict() -> PeerAuthentication:
    spec = PeerAuthenticationSpec(mtls=Mtls(mode=MtlsMode.STRICT))
    return PeerAuthentication(metadata=Metadata(name="default", namespace=ROOT_NAMESPACE), spec=spec)
