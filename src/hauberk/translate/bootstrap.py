"""How an Envoy starts: who it is, where its configuration comes from, and what it leaves out to stay small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2, config_source_pb2, grpc_service_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.metrics.v3 import stats_pb2
from envoy.extensions.bootstrap.internal_listener.v3 import internal_listener_pb2
from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf import json_format

from hauberk.envoy.message import ads, any_, boolean, duration, pipe
from hauberk.translate import connection

XDS_CLUSTER: Final = "xds"

# What the agent asks for: readiness, the state of the configuration stream, certificates. Statistics of every cluster would cost
# more memory than the clusters.
_KEPT_STATISTICS: Final = ("cluster_manager.", "listener_manager.", "server.", "control_plane.", "listener.0.0.0.0_15006.ssl.")
_MOST_CONNECTIONS: Final = 100_000
_LARGEST_PATTERN: Final = 32_768
_FLUSH: Final = 200  # milliseconds after which a record is in the file at the latest
_DRAIN: Final = 30  # seconds in which connections of a changed or leaving listener are brought to an end


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapInputs:
    """One sidecar: its pod, and the Unix sockets (paths as Envoy sees them) towards its agent.

    Envoy's working directory must be the pod's run directory: the access log is named relative to it.
    """

    namespace: str
    name: str
    address: str
    xds_socket: Path
    admin_socket: Path
    cluster_domain: str = "cluster.local"

    @property
    def node_id(self) -> str:
        return f"sidecar~{self.address}~{self.name}.{self.namespace}~{self.namespace}.svc.{self.cluster_domain}"


def build_bootstrap(inputs: BootstrapInputs) -> bytes:
    """The bootstrap as JSON, for `--config-yaml` (JSON is YAML)."""
    bootstrap = bootstrap_pb2.Bootstrap(
        node=base_pb2.Node(id=inputs.node_id, cluster=f"{inputs.name}.{inputs.namespace}"),
        admin=bootstrap_pb2.Admin(address=pipe(str(inputs.admin_socket), 0o600)),
        static_resources=bootstrap_pb2.Bootstrap.StaticResources(clusters=[_xds_cluster(str(inputs.xds_socket))]),
        dynamic_resources=_dynamic(),
        # Told apart by interception: what Envoy itself sends does not come back to it.
        # Of the services of a mesh a program calls few: what a worker needs for one is made at the first call.
        cluster_manager=bootstrap_pb2.ClusterManager(
            upstream_bind_config=connection.marked(connection.OUTBOUND_MARK), enable_deferred_cluster_creation=True
        ),
        stats_config=_statistics(),
        # Nothing is sent anywhere, so there is nothing to gather every five seconds.
        stats_flush_interval=duration(60),
        layered_runtime=_runtime(),
    )
    bootstrap.bootstrap_extensions.add(
        name="envoy.bootstrap.internal_listener", typed_config=any_(internal_listener_pb2.InternalListener())
    )
    monitor = downstream_connections_pb2.DownstreamConnectionsConfig(max_active_downstream_connections=_MOST_CONNECTIONS)
    bootstrap.overload_manager.resource_monitors.add(
        name="envoy.resource_monitors.global_downstream_max_connections", typed_config=any_(monitor)
    )
    return json_format.MessageToJson(bootstrap, preserving_proto_field_name=True, indent=None).encode()


def envoy_command(binary: Path | str, bootstrap: bytes, *, concurrency: int = 1, log_level: str = "warning") -> tuple[str, ...]:
    """The command line of a sidecar; its log goes to standard error."""
    return (
        str(binary),
        *("--config-yaml", bootstrap.decode()),
        *("--concurrency", str(concurrency)),
        *("--log-level", log_level),
        "--disable-hot-restart",
        # What it does not know it would name in its log and leave out; looking for it by reflection costs more than the log is worth.
        "--ignore-unknown-dynamic-fields",
        *("--file-flush-interval-msec", str(_FLUSH)),
        *("--drain-time-s", str(_DRAIN)),
        # Not at once: a caller whose connection ends before it has heard of a new mode would come back in the old one and be refused.
        *("--drain-strategy", "gradual"),
    )


def _xds_cluster(socket: str) -> cluster_pb2.Cluster:
    endpoint = endpoint_components_pb2.LbEndpoint(endpoint=endpoint_components_pb2.Endpoint(address=pipe(socket)))
    group = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint])
    cluster = cluster_pb2.Cluster(
        name=XDS_CLUSTER,
        type=cluster_pb2.Cluster.DiscoveryType.STATIC,
        connect_timeout=duration(5),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(cluster_name=XDS_CLUSTER, endpoints=[group]),
    )
    connection.set_http(cluster, connection.speaks_http2(connection.common_http_options(), keepalive=True))
    # A Unix socket cannot be marked, and needs not be: the mesh-wide option would be refused on it.
    cluster.upstream_bind_config.SetInParent()
    return cluster


def _dynamic() -> bootstrap_pb2.Bootstrap.DynamicResources:
    service = grpc_service_pb2.GrpcService(
        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=XDS_CLUSTER, skip_envoy_headers=True)
    )
    # A restarted agent is found again at once, not after Envoy's half minute.
    retry = service.envoy_grpc.retry_policy.retry_back_off
    retry.base_interval.CopyFrom(duration(0.1))
    retry.max_interval.CopyFrom(duration(1))
    source = config_source_pb2.ApiConfigSource(
        api_type=config_source_pb2.ApiConfigSource.ApiType.DELTA_GRPC,
        transport_api_version=config_source_pb2.ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[service],
    )
    return bootstrap_pb2.Bootstrap.DynamicResources(ads_config=source, cds_config=ads(), lds_config=ads())


def _statistics() -> stats_pb2.StatsConfig:
    kept = string_pb2.ListStringMatcher(patterns=[string_pb2.StringMatcher(prefix=prefix) for prefix in _KEPT_STATISTICS])
    # The default tags are forty patterns to take names of statistics apart, a tenth of a megabyte of them; nobody reads these in parts.
    return stats_pb2.StatsConfig(stats_matcher=stats_pb2.StatsMatcher(inclusion_list=kept), use_all_default_tags=boolean(False))


def _runtime() -> bootstrap_pb2.LayeredRuntime:
    layer = bootstrap_pb2.RuntimeLayer(name="hauberk")
    layer.static_layer.update(
        {
            # Policies with many long names become long patterns.
            "re2.max_program_size.error_level": _LARGEST_PATTERN,
            "re2.max_program_size.warn_level": _LARGEST_PATTERN,
            # What rate limits tell requests apart by is found by formats; without this they would be taken for values.
            "envoy.reloadable_features.enable_formatter_for_ratelimit_action_descriptor_value": True,
        }
    )
    return bootstrap_pb2.LayeredRuntime(layers=[layer])
