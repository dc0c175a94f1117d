"""Whom policy refuses may be told by which rule: `hauberk.denyReasonHeader` in the MeshConfig, off unless somebody turns it on.

It helps whoever writes policies, and it tells an attacker which rules there are.
"""

from __future__ import annotations

from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from hauberk.envoy.message import any_

HEADER: Final = "x-hauberk-denied-by"
# Who refused is known as the detail of the answer; the filter's metadata is written when the answer is already on its way.
DETAIL: Final = "rbac_access_denied_matched_policy["


def tells_reason() -> hcm_pb2.LocalReplyConfig:
    """A refusal by policy gets the header: `rbac_access_denied_matched_policy[NAME]`, with the name that records have."""
    refused = cel_pb2.ExpressionFilter(expression=f"response.code_details.startsWith('{DETAIL}')")
    extension = accesslog_pb2.ExtensionFilter(name="envoy.access_loggers.extension_filters.cel", typed_config=any_(refused))
    header = base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=HEADER, value="%RESPONSE_CODE_DETAILS%"),
        append_action=base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    mapper = hcm_pb2.ResponseMapper(filter=accesslog_pb2.AccessLogFilter(extension_filter=extension), headers_to_add=[header])
    return hcm_pb2.LocalReplyConfig(mappers=[mapper])
