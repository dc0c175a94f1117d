"""What a sidecar writes about each request and connection: a line of values with short keys.

The meanings of the keys are here and nowhere else; `telemetry` decodes them. A request's line holds the values alone, in the order of
`telemetry/layout.py`, a connection's is JSON. A value that does not apply is empty, left out or null.

The file is named relative to Envoy's working directory (the directory of its pod), so that all proxies share the same listeners.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.route.v3 import route_components_pb2
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from google.protobuf import struct_pb2

from hauberk.envoy.message import any_
from hauberk.telemetry.layout import INBOUND_TAG, OUTBOUND_TAG, line_format

ACCESS_LOG_FILE: Final = "access.log"

# Where network policy leaves its decision about a TCP connection: "allow|RULE" or "deny|RULE", RULE empty if implicit.
DECISION_STATE: Final = "hauberk.decision"
# And, in the same form, what it would have decided if policies in dry-run were enforced.
DRY_RUN_STATE: Final = "hauberk.dry-run"
# The rule of an AUDIT policy that matched.
AUDIT_STATE: Final = "hauberk.audit"

# Where a route says which policies limit its requests.
ROUTE_METADATA: Final = "hauberk"
LIMITING_KEY: Final = "limiting"

# Statistics prefixes of the filters that evaluate policies without enforcing them; they name what is left in the metadata.
CUSTOM_PREFIX: Final = "hauberk_custom_"
DRY_RUN_PREFIX: Final = "hauberk_dry_run_"
AUDIT_PREFIX: Final = "hauberk_audit_"

# Set on every connection that a filter chain took and whose handshake, if there was one, succeeded.
ESTABLISHED_STATE: Final = "hauberk.established"

# Longer texts are cut: one request must not fill the agent's memory.
LONGEST: Final = 1024

# Every key costs every request a little: what the reader knows anyway (its own pod's address and identity) is not written, nor what
# says nothing (the caller's port).

# Every line.
_ALWAYS: Final = {
    "t": "%START_TIME(%s%6f)%",  # when it began: microseconds since 1970
    "f": "%RESPONSE_FLAGS%",  # Envoy's response flags, or "-"
    "bi": "%BYTES_RECEIVED%",  # bytes of the bodies (TCP: of the connection) received from the caller
    "bo": "%BYTES_SENT%",  # and sent to the caller
    "la": "%DOWNSTREAM_LOCAL_ADDRESS%",  # address:port that the caller connected to (before interception)
}

# Lines of requests ("k": "h").
_REQUEST: Final = {
    "us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",  # microseconds from the request's first to the response's last byte
    "m": "%REQ(:METHOD)%",
    "a": f"%REQ(:AUTHORITY):{LONGEST}%",
    "p": f"%REQ(:PATH):{LONGEST}%",  # with the query; on the destination's side after normalization
    "v": "%PROTOCOL%",  # HTTP/1.0, HTTP/1.1, HTTP/2
    "s": "%RESPONSE_CODE%",  # 0: the caller went away before there was an answer
    "g": "%GRPC_STATUS_NUMBER%",
    "r": f"%REQ(X-REQUEST-ID):{LONGEST}%",
    "tp": f"%REQ(TRACEPARENT):{LONGEST}%",  # 00-TRACE-SPAN-FLAGS
    # Why it ended as it did. rbac_access_denied_matched_policy[NAME]: denied by NAME; [none]: no ALLOW matched. It also holds the
    # reason why a connection failed.
    "x": "%RESPONSE_CODE_DETAILS%",
}

# Lines of connections ("k": "t"; "k": "l": only the listener saw them, because no chain matched or the handshake failed).
_CONNECTION: Final = {
    "ms": "%DURATION%",  # milliseconds from beginning to end
    "x": "%CONNECTION_TERMINATION_DETAILS%",
    "ut": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",  # why the connection to `u` failed
}

# Lines of the caller's sidecar ("d": "o").
_OUTBOUND: Final = {
    "c": "%UPSTREAM_CLUSTER_RAW%",  # outbound|PORT||HOST, PassthroughCluster, BlackHoleCluster
    "u": "%UPSTREAM_HOST%",  # address:port that was connected to
    "w": "%UPSTREAM_HOST_NAME%",  # NAME.NAMESPACE of the pod behind `u`; an address if it is not a pod of the mesh
    "pi": "%UPSTREAM_PEER_URI_SAN%",  # SPIFFE ID of the other side
    "tv": "%UPSTREAM_TLS_VERSION%",
    "tc": "%UPSTREAM_TLS_CIPHER%",
    "tg": "%UPSTREAM_TLS_GROUP%",
}

# Lines of the called sidecar ("d": "i").
_INBOUND: Final = {
    "ch": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",  # address of the caller
    "n": "%REQUESTED_SERVER_NAME%",  # outbound_.PORT_._.HOST: the service's port and host that the caller's sidecar meant
    "pi": "%DOWNSTREAM_PEER_URI_SAN%",  # SPIFFE ID of the other side
    "tv": "%DOWNSTREAM_TLS_VERSION%",
    "tc": "%DOWNSTREAM_TLS_CIPHER%",
    "tg": "%DOWNSTREAM_TLS_GROUP%",
}

RBAC_METADATA: Final = "envoy.filters.http.rbac"

# What policy decided about a request: names of rules, each empty where no such policy exists.
_REQUEST_DECISION: Final = {
    "q": f"%DYNAMIC_METADATA({RBAC_METADATA}:enforced_effective_policy_id)%",  # who allowed or denied it
    "cp": f"%DYNAMIC_METADATA({RBAC_METADATA}:{CUSTOM_PREFIX}shadow_effective_policy_id)%",  # why an external authorizer was asked
    "dr": f"%DYNAMIC_METADATA({RBAC_METADATA}:{DRY_RUN_PREFIX}shadow_engine_result)%",  # in dry-run: allowed, denied
    "dp": f"%DYNAMIC_METADATA({RBAC_METADATA}:{DRY_RUN_PREFIX}shadow_effective_policy_id)%",  # and by whom
    "ap": f"%DYNAMIC_METADATA({RBAC_METADATA}:{AUDIT_PREFIX}shadow_effective_policy_id)%",
    "rl": f"%METADATA(ROUTE:{ROUTE_METADATA}:{LIMITING_KEY})%",  # who limits requests, whether or not this one
}

# A connection has two lines, one when it is made and one when it has ended, and between them it is known by its addresses.
_BEGIN_OR_END: Final = {
    "e": "%ACCESS_LOG_TYPE%",  # TcpUpstreamConnected, TcpConnectionEnd
    "ca": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",  # address:port of the caller
}

# What policy decided about a connection, see DECISION_STATE.
_CONNECTION_DECISION: Final = {
    "q": f"%FILTER_STATE({DECISION_STATE}:PLAIN)%",
    "dp": f"%FILTER_STATE({DRY_RUN_STATE}:PLAIN)%",
    "ap": f"%FILTER_STATE({AUDIT_STATE}:PLAIN)%",
}

UPGRADE_KIND: Final = "u"
# Lines of requests that want another protocol on their connection ("k": "u"), such as WebSockets: one when it has been agreed to, and
# one when it is over, or was refused. No records, those are requests' lines like any others: they tell what is open, and what policy
# can be asked about it. A text that was cut is as long as `LONGEST`.
_UPGRADE: Final = {
    "t": "%START_TIME(%s%6f)%",
    "e": "%ACCESS_LOG_TYPE%",  # DownstreamTunnelSuccessfullyEstablished, DownstreamEnd
    "ca": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "la": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "ra": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",  # address of the client, as trusted hops name it
    "n": "%REQUESTED_SERVER_NAME%",
    "pi": "%DOWNSTREAM_PEER_URI_SAN%",
    "m": "%REQ(:METHOD)%",
    "a": f"%REQ(:AUTHORITY):{LONGEST}%",
    "p": f"%PATH(NQ:PATH):{LONGEST}%",  # without the query, which no policy asks about and which may hold what is secret
    "ul": "%UPSTREAM_LOCAL_ADDRESS%",  # both ends of the connection to the program
    "ur": "%UPSTREAM_REMOTE_ADDRESS%",
    "uv": "%UPSTREAM_PROTOCOL%",  # only of HTTP/1.1 is a connection that one request has for itself
}

# Why the handshake failed.
_HANDSHAKE: Final = {"tf": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"}


def _line(kind: str, direction: str, *parts: Mapping[str, str]) -> Mapping[str, str]:
    keys = {"k": kind, "d": direction}
    for part in parts:
        keys |= part
    return keys


OUTBOUND_REQUEST: Final = _line("h", "o", _ALWAYS, _REQUEST, _OUTBOUND)
INBOUND_REQUEST: Final = _line("h", "i", _ALWAYS, _REQUEST, _INBOUND, _REQUEST_DECISION)
OUTBOUND_CONNECTION: Final = _line("t", "o", _ALWAYS, _CONNECTION, _OUTBOUND)
INBOUND_CONNECTION: Final = _line("t", "i", _ALWAYS, _CONNECTION, _INBOUND, _BEGIN_OR_END, _CONNECTION_DECISION)
INBOUND_UPGRADE: Final = _line(UPGRADE_KIND, "i", _UPGRADE)
INBOUND_FAILURE: Final = _line("l", "i", _ALWAYS, _CONNECTION, _INBOUND, _HANDSHAKE)


def failed_connections() -> accesslog_pb2.AccessLogFilter:
    """Connections that only the listener has seen: no chain took them, or the TLS handshake failed."""
    expression = cel_pb2.ExpressionFilter(expression=f"!('{ESTABLISHED_STATE}' in filter_state)")
    extension = accesslog_pb2.ExtensionFilter(name="envoy.access_loggers.extension_filters.cel", typed_config=any_(expression))
    return accesslog_pb2.AccessLogFilter(extension_filter=extension)


def no_upgrade_yet() -> accesslog_pb2.AccessLogFilter:
    """All but what is written besides when an upgrade has succeeded: a request has one record, when it is over."""
    established = accesslog_pb2.LogTypeFilter(types=[AccessLogType.DownstreamTunnelSuccessfullyEstablished], exclude=True)
    return accesslog_pb2.AccessLogFilter(log_type_filter=established)


def upgrades() -> accesslog_pb2.AccessLogFilter:
    """Requests for another protocol. By HTTP/2 they are written otherwise (RFC 8441), which Envoy reads as if they were not."""
    header = route_components_pb2.HeaderMatcher(name="upgrade", present_match=True)
    return accesslog_pb2.AccessLogFilter(header_filter=accesslog_pb2.HeaderFilter(header=header))


def access_log(keys: Mapping[str, str], when: accesslog_pb2.AccessLogFilter | None = None) -> accesslog_pb2.AccessLog:
    """A log that writes `keys` to the pod's file, of everything or only `when` the filter says so."""
    logger = file_pb2.FileAccessLog(path=ACCESS_LOG_FILE, log_format=_text(keys) if keys["k"] == "h" else _json(keys))
    return accesslog_pb2.AccessLog(name="file", filter=when, typed_config=any_(logger))


def _text(keys: Mapping[str, str]) -> SubstitutionFormatString:
    line = line_format(OUTBOUND_TAG if keys["d"] == "o" else INBOUND_TAG, keys)
    return SubstitutionFormatString(text_format_source=base_pb2.DataSource(inline_string=line), omit_empty_values=True)


def _json(keys: Mapping[str, str]) -> SubstitutionFormatString:
    # What is said of a connection may come from whoever connects, in any bytes; JSON cannot be forged by them.
    values = struct_pb2.Struct()
    values.update(keys)
    return SubstitutionFormatString(json_format=values, omit_empty_values=True)
