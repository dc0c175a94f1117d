"""What the agent says of itself, its pods and their sidecars: pure."""

from collections.abc import Callable, Iterable
from typing import Any

from hauberk.agent.pod_life import PodLife
from hauberk.agent.records import RecordCounts
from hauberk.agent.sidecar_state import CertificateState, SidecarState
from hauberk.kit.clock import format_timestamp

Document = dict[str, Any]


def build_status(
    node: str,
    lives: Iterable[PodLife],
    state: Callable[[str], SidecarState | None],
    counts: RecordCounts,
    *,
    settled: bool,
    problem: str = "",
) -> Document:
    """The agent's half of the status document that the command line shows; `settled`: it has taken on the pods it found.

    `problem`: why this machine is cut off from its mesh.
    """
    pods = tuple(lives)
    sidecars = ((life, state(life.pod.metadata.uid)) for life in pods)
    return {
        "agents": [{"node": node, "ready": settled and not problem, "pods": len(pods), **({"problem": problem} if problem else {})}],
        "proxies": [_proxy(life, found) for life, found in sidecars if found is not None],
        "records": {"kept": counts.kept, "dropped": counts.dropped, "stored": counts.stored},
    }


def describe_pod(life: PodLife, state: SidecarState | None) -> Document:
    """One pod of this machine."""
    pod = life.pod
    return {
        "namespace": pod.metadata.namespace,
        "name": pod.metadata.name,
        "uid": pod.metadata.uid,
        "phase": pod.status.phase,
        "ready": pod.status.ready,
        "addresses": [each.ip for each in pod.status.pod_ips],
        "terminating": life.ending is not None,
        "sidecar": None if state is None else _proxy(life, state),
    }


def _proxy(life: PodLife, state: SidecarState) -> Document:
    return {
        "pod": life.pod.metadata.name,
        "namespace": life.pod.metadata.namespace,
        "ready": state.ready,
        "running": state.running,
        "connected": state.connected,
        "controlPlane": state.control_plane,
        "restarts": state.restarts,
        "problem": state.problem,
        "alarm": state.alarm,
        "rejected": [{"resource": each.name, "object": ", ".join(each.origins), "message": each.message} for each in state.rejected],
        "certificate": None if state.certificate is None else _certificate(state.certificate),
    }


def _certificate(found: CertificateState) -> Document:
    return {
        "spiffeId": found.spiffe_id,
        "serial": found.serial,
        "notBefore": format_timestamp(found.not_before),
        "notAfter": format_timestamp(found.not_after),
        "issuer": found.issuer,
    }
