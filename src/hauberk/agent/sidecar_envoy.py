"""How the Envoy of a pod is started, and as which node its relay speaks for it."""

from pathlib import Path

from envoy.config.core.v3.base_pb2 import Node

from hauberk.agent.sidecar_pod import PodRef
from hauberk.translate.bootstrap import BootstrapInputs, build_bootstrap, envoy_command

# Relative to the pod's own directory, in which Envoy runs: it needs no way through the directories above, and no path is too long.
XDS_SOCKET = "xds.sock"
ADMIN_SOCKET = "admin.sock"
ACCESS_LOG = "access.log"


def bootstrap_inputs(pod: PodRef) -> BootstrapInputs:
    """What the bootstrap needs to know of `pod`."""
    return BootstrapInputs(
        namespace=pod.namespace,
        name=pod.name,
        address=pod.addresses[0] if pod.addresses else "",
        xds_socket=Path(XDS_SOCKET),
        admin_socket=Path(ADMIN_SOCKET),
    )


def build_node(pod: PodRef) -> Node:
    """The node that the control plane hears of: made from what the agent knows, never from what a process says."""
    return Node(id=bootstrap_inputs(pod).node_id, cluster=f"{pod.name}.{pod.namespace}")


def build_arguments(pod: PodRef, binary: Path) -> tuple[str, ...]:
    """Envoy's command line."""
    return envoy_command(binary, build_bootstrap(bootstrap_inputs(pod)))
