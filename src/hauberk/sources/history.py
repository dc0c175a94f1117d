"""What of an object matters to decisions, and a version of it: who made it, when, and how long it was so."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from hauberk.api.config_map import ConfigMap
from hauberk.api.container import Container
from hauberk.api.deployment import Deployment, DeploymentSpec, PodTemplate
from hauberk.api.document import to_json
from hauberk.api.mesh_config import NAME, ROOT_NAMESPACE
from hauberk.api.metadata import ApiObject, Metadata, ObjectKey
from hauberk.api.pod import Pod, PodSpec
from hauberk.api.pod_status import PodStatus
from hauberk.mesh.workload import INJECT

AGE: Final = timedelta(days=30)  # how long what is no more so is remembered
SIZE: Final = 64 << 20  # bytes of documents that are no more so; the oldest go first

BEFORE: Final = datetime(1970, 1, 1, tzinfo=UTC)  # any version
_MICROSECOND: Final = timedelta(microseconds=1)


class VersionEvent(StrEnum):
    """What made the version. `FOUND`: it was there when history began, or had changed while nobody wrote it down."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    FOUND = "found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An object as it was from `since` until `until` (None: still is); of a deletion the last state, and both times are one."""

    key: ObjectKey
    event: VersionEvent
    author: str
    revision: int
    since: datetime
    until: datetime | None
    document: str


@dataclass(frozen=True, slots=True)
class Past:
    """All objects that matter to decisions, as they were at `moment`; `complete` unless history does not reach back so far."""

    moment: datetime
    objects: tuple[ApiObject, ...]
    complete: bool


def is_recorded(item: ApiObject) -> bool:
    """Versions of it are kept.

    Of ConfigMaps only the mesh's settings are anybody's business.
    """
    return not isinstance(item, ConfigMap) or (item.metadata.namespace, item.metadata.name) == (ROOT_NAMESPACE, NAME)


def recorded_text(item: ApiObject) -> str:
    """The document of a version: equal for states of the object between which no decision can differ."""
    if isinstance(item, Pod):
        return to_json(_bare_pod(item))
    if isinstance(item, Deployment):
        return to_json(_bare_deployment(item))
    update: dict[str, object] = {"metadata": _without_revision(item.metadata)}
    if "status" in type(item).model_fields:
        update["status"] = type(item).model_fields["status"].get_default()
    return to_json(item.model_copy(update=update))


def _bare_pod(pod: Pod) -> Pod:
    metadata = pod.metadata
    annotations = {name: value for name, value in metadata.annotations.items() if name == INJECT}
    status = PodStatus(phase=pod.status.phase, pod_ip=pod.status.pod_ip, pod_ips=pod.status.pod_ips)
    kept = _without_revision(metadata).model_copy(update={"annotations": annotations})
    return Pod(metadata=kept, spec=_bare_spec(pod.spec), status=status)


def _bare_deployment(deployment: Deployment) -> Deployment:
    # How many pods there are, and how they are replaced, the pods themselves tell.
    spec = deployment.spec
    template = PodTemplate(metadata=spec.template.metadata, spec=_bare_spec(spec.template.spec))
    kept = _without_revision(deployment.metadata).model_copy(update={"annotations": {}})
    return Deployment(metadata=kept, spec=DeploymentSpec(selector=spec.selector, template=template))


def _bare_spec(spec: PodSpec) -> PodSpec:
    # Neither commands nor environment: nothing of them decides, pods are many, and a variable may hold what should not be kept for a month.
    ports = tuple(port for each in (*spec.init_containers, *spec.containers) for port in each.ports)
    return PodSpec(
        containers=(Container(name=spec.containers[0].name, ports=ports),),
        service_account_name=spec.service_account_name,
        node_name=spec.node_name,
        hostname=spec.hostname,
        subdomain=spec.subdomain,
    )


def _without_revision(metadata: Metadata) -> Metadata:
    return metadata.model_copy(update={"resource_version": "", "generation": 0})


def microseconds(moment: datetime) -> int:
    """The moment as the file counts."""
    return (moment - BEFORE) // _MICROSECOND


def moment_of(count: int) -> datetime:
    """The moment that `microseconds` counted."""
    return BEFORE + count * _MICROSECOND
