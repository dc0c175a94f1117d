"""Which connections only the listener has seen: no chain took them, or the TLS handshake failed."""

from __future__ import annotations

from envoy.config.accesslog.v3 import accesslog_pb2


def failed_connections() -> accesslog_pb2.AccessLogFilter | None:
    return None
