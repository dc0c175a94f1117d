"""The HTTP side of a filter chain: connection manager, filters and their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from hauberk.api.mesh_config import Normalization
from hauberk.envoy.message import ads, any_, boolean, duration
from hauberk.translate import connection, jwt, one_token, revocation
from hauberk.translate.access_log import INBOUND_REQUEST, INBOUND_UPGRADE, OUTBOUND_REQUEST, access_log, no_upgrade_yet, upgrades
from hauberk.translate.deny_reason import tells_reason
from hauberk.translate.external_authorization import custom_filters
from hauberk.translate.limits import Limits
from hauberk.translate.mesh_headers import client_address, lookalikes_filter, reserved_headers
from hauberk.translate.rate_limit import rate_limit_filters
from hauberk.translate.rbac import AUDIT, DECISION
from hauberk.translate.trace_context import trace_context

Hcm = hcm_pb2.HttpConnectionManager

_ROUTER: Final = "envoy.filters.http.router"

# A request by HTTP/1.0 may come without a host; it is routed by the address that the program connected to.
_HOST_OF_HTTP_10: Final = "unknown"


def _router() -> hcm_pb2.HttpFilter:
    # Without the x-envoy-… headers: programs did not ask for them.
    return hcm_pb2.HttpFilter(name=_ROUTER, typed_config=any_(router_pb2.Router(suppress_envoy_headers=True)))


def _rbac(name: str) -> hcm_pb2.HttpFilter:
    # Disabled here and enabled by the route, which holds the rules: a changed policy is then a changed route, which holds for the
    # next request of every open connection. Rules in the listener would hold for new connections only.
    return hcm_pb2.HttpFilter(name=name, typed_config=any_(rbac_pb2.RBAC()), disabled=True)


# For callers that show no certificate: there is nothing that could have been revoked.
PLAIN_INBOUND_FILTERS: Final = (
    lookalikes_filter(),  # what is taken away has not been looked at by anyone
    *custom_filters(),  # whom it needs no token to ask
    one_token.http_filter(),  # as long as all tokens are still where they were sent
    jwt.http_filter(),  # it finds out who the end user is, about which policies may ask
    _rbac(AUDIT),  # notes are made of what is refused, too
    _rbac(DECISION),
    *rate_limit_filters(),  # only what is allowed is counted
    _router(),
)
INBOUND_FILTERS: Final = (
    revocation.http_filter(),  # before all others: who was revoked learns nothing from them
    *PLAIN_INBOUND_FILTERS,
)
OUTBOUND_FILTERS: Final = (_router(),)


def outbound_http(stat_prefix: str, routes: str) -> listener_components_pb2.Filter:
    """Requests of the pod's program, routed by the configuration `routes`."""
    hcm = _hcm(f"outbound_{stat_prefix}", routes, OUTBOUND_FILTERS, (access_log(OUTBOUND_REQUEST),))
    hcm.forward_client_cert_details = Hcm.ForwardClientCertDetails.SANITIZE
    hcm.early_header_mutation_extensions.append(trace_context())
    hcm.http_protocol_options.CopyFrom(_http1())
    return _filter(hcm)


def inbound_http(stat_prefix: str, routes: str, limits: Limits, *, mutual: bool) -> listener_components_pb2.Filter:
    """Requests to the pod's program; `mutual`: from a sidecar that has proven its identity."""
    logs = access_log(INBOUND_REQUEST, no_upgrade_yet()), access_log(INBOUND_UPGRADE, upgrades())
    hcm = _hcm(f"inbound_{stat_prefix}", routes, INBOUND_FILTERS if mutual else PLAIN_INBOUND_FILTERS, logs)
    # What is open is known while it is open, so that it can end when policy changes.
    hcm.access_log_options.flush_log_on_tunnel_successfully_established = True
    # A caller must not be able to claim somebody else's certificate, or address.
    hcm.forward_client_cert_details = Hcm.ForwardClientCertDetails.SANITIZE
    hcm.original_ip_detection_extensions.append(client_address(limits.trusted_hops))
    if mutual:
        hcm.common_http_protocol_options.max_connection_duration.CopyFrom(duration(limits.requests_age))
    else:
        # What comes through mutual TLS has been given one by the caller's sidecar.
        hcm.early_header_mutation_extensions.append(trace_context())
    hcm.http_protocol_options.CopyFrom(_http1())
    _normalize(hcm, limits.normalization)
    if limits.deny_reason_header:
        hcm.local_reply_config.CopyFrom(tells_reason())
    return _filter(hcm)


def _hcm(stat_prefix: str, routes: str, filters: Sequence[hcm_pb2.HttpFilter], logs: Sequence[accesslog_pb2.AccessLog]) -> Hcm:
    return Hcm(
        stat_prefix=stat_prefix,
        codec_type=Hcm.CodecType.AUTO,
        rds=hcm_pb2.Rds(config_source=ads(), route_config_name=routes),
        http_filters=filters,
        access_log=logs,
        early_header_mutation_extensions=[reserved_headers()],
        # The caller is the program in this pod, or a sidecar: there is no proxy before us whose headers would have to be believed.
        use_remote_address=boolean(False),
        generate_request_id=boolean(True),
        preserve_external_request_id=True,
        # A program's answer is its own: neither "server: envoy" nor "via".
        server_header_transformation=Hcm.ServerHeaderTransformation.PASS_THROUGH,
        # Streams may be silent for as long as their programs like.
        stream_idle_timeout=duration(0),
        upgrade_configs=[Hcm.UpgradeConfig(upgrade_type="websocket")],
        http2_protocol_options=connection.http2_options(),
        proxy_100_continue=True,
    )


def _http1() -> protocol_pb2.Http1ProtocolOptions:
    options = connection.http1_options()
    options.accept_http_10 = True
    options.default_host_for_http_10 = _HOST_OF_HTTP_10
    return options


def _normalize(hcm: Hcm, how: Normalization) -> None:
    """The path is brought into one form before it is authorized, and passed on in that form."""
    if how == "NONE":
        return
    hcm.normalize_path.CopyFrom(boolean(True))
    if how in ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"):
        hcm.merge_slashes = True
    if how == "DECODE_AND_MERGE_SLASHES":
        hcm.path_with_escaped_slashes_action = Hcm.PathWithEscapedSlashesAction.UNESCAPE_AND_FORWARD


def _filter(hcm: Hcm) -> listener_components_pb2.Filter:
    return listener_components_pb2.Filter(name="envoy.filters.network.http_connection_manager", typed_config=any_(hcm))
