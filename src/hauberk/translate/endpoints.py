"""Endpoints: one resource for each port of each service, so that a pod that comes or goes changes nothing else."""

from __future__ import annotations

from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from hauberk.envoy.message import socket_address, struct
from hauberk.envoy.name import outbound
from hauberk.mesh.endpoints import Endpoint
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.translate.clusters import PLAIN, TLS_MODE

_MATCH = "envoy.transport_socket_match"
_PLAIN = struct(**{TLS_MODE: PLAIN})


def load_assignment(service: MeshService, port: MeshPort, endpoints: tuple[Endpoint, ...]) -> endpoint_pb2.ClusterLoadAssignment:
    """Where `port` of `service` is."""
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=str(outbound(port.port, service.host)))
    if endpoints:
        assignment.endpoints.append(
            endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[_endpoint(endpoint, service) for endpoint in endpoints])
        )
    return assignment


def _endpoint(endpoint: Endpoint, service: MeshService) -> endpoint_components_pb2.LbEndpoint:
    made = endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(
            address=socket_address(_address(endpoint, service), endpoint.port),
            # For the access record only: which pod is behind the address.
            hostname=f"{endpoint.workload.name}.{endpoint.workload.namespace}",
        )
    )
    if not endpoint.mtls:
        made.metadata.filter_metadata[_MATCH].CopyFrom(_PLAIN)
    return made


def _address(endpoint: Endpoint, service: MeshService) -> str:
    # Between sidecars one family is as good as the other; a service that has only IPv6 addresses is meant to be used by IPv6.
    first = service.addresses[0] if service.addresses else endpoint.addresses[0]
    return next((address for address in endpoint.addresses if (":" in address) == (":" in first)), endpoint.addresses[0])
