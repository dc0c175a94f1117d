"""Whom policy refuses may be told by which rule: `hauberk.denyReasonHeader` in the MeshConfig, off unless somebody turns it on.

It helps whoever writes policies, and it tells an attacker which rules there are.
"""

from __future__ import annotations

from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2

from hauberk.envoy.message import boolean

HEADER: Final = "x-hauberk-denied-by"

_RBAC: Final = "envoy.filters.http.rbac"


def tells_reason() -> hcm_pb2.LocalReplyConfig:
    """A refusal by policy gets the header with the name of the rule, or of what follows from there being none."""
    denied = metadata_pb2.MetadataMatcher(
        filter=_RBAC,
        path=[metadata_pb2.MetadataMatcher.PathSegment(key="enforced_engine_result")],
        value=value_pb2.ValueMatcher(string_match=string_pb2.StringMatcher(exact="denied")),
    )
    when = accesslog_pb2.AccessLogFilter(
        metadata_filter=accesslog_pb2.MetadataFilter(matcher=denied, match_if_key_not_found=boolean(False))
    )
    header = base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=HEADER, value=f"%DYNAMIC_METADATA({_RBAC}:enforced_effective_policy_id)%"),
        append_action=base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return hcm_pb2.LocalReplyConfig(mappers=[hcm_pb2.ResponseMapper(filter=when, headers_to_add=[header])])
