"""Deployments and pods for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hauberk.api.condition import Condition
from hauberk.api.deployment import Deployment
from hauberk.api.pod import Pod
from hauberk.api.pod_status import PodStatus
from hauberk.workloads.template import make_pod, template_hash

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def deployment(replicas: int = 4, *, version: str = "v2", **spec: Any) -> Deployment:
    return Deployment.model_validate(
        {
            "metadata": {"name": "web", "namespace": "default", "uid": "d1", "generation": 1},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "command": ["serve", version]}]},
                },
                **spec,
            },
        }
    )


def pod(name: str, *, version: str = "v2", ready: bool = True, age: int = 100, going: bool = False, ready_for: int | None = None) -> Pod:
    made = make_pod(deployment(version=version), template_hash(deployment(version=version).spec.template), name, "here")
    metadata = made.metadata.model_copy(
        update={
            "name": name,
            "uid": name,
            "creation_timestamp": NOW - timedelta(seconds=age),
            "deletion_timestamp": NOW if going else None,
        }
    )
    since = NOW - timedelta(seconds=age if ready_for is None else ready_for)
    condition = Condition(type="Ready", status="True" if ready else "False", last_transition_time=since)
    return made.model_copy(update={"metadata": metadata, "status": PodStatus(phase="Running", conditions=(condition,))})
