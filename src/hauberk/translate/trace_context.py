"""A W3C trace context for requests that come without one.

Made of header mutations, because a tracer costs several times as much even if it samples nothing. Envoy's formats know a random
UUID, but cannot cut it: that only the value of a header can be. So a header is made of a UUID, the trace context of its first
eight digits and of the time in nanoseconds, and the first header is removed again. It happens before anything else is done with
the request: routes and records see it.
"""

from __future__ import annotations

from typing import Final

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2

from hauberk.envoy.message import any_

_Action = base_pb2.HeaderValueOption.HeaderAppendAction
_Mutation = mutation_rules_pb2.HeaderMutation

_UNIQUE: Final = "x-hauberk-unique"
_RANDOM: Final = f"%REQ({_UNIQUE}):8%"
# The time comes first: samplers elsewhere look at the last digits, which must be the random ones. 5 + 19 + 8 and 8 + 8 digits.
# A span need be unique in its trace only, and this is its first.
_TRACE: Final = f"00000%START_TIME(%s%9f)%{_RANDOM}"
_SPAN: Final = _RANDOM * 2


def trace_context() -> extension_pb2.TypedExtensionConfig:
    """A request that has a trace context keeps it; one that gets it is not sampled."""
    mutations = (
        _Mutation(append=_option(_UNIQUE, "%UNIQUE_ID%", _Action.OVERWRITE_IF_EXISTS_OR_ADD)),
        _Mutation(append=_option("traceparent", f"00-{_TRACE}-{_SPAN}-00", _Action.ADD_IF_ABSENT)),
        _Mutation(remove=_UNIQUE),
    )
    return extension_pb2.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=any_(header_mutation_pb2.HeaderMutation(mutations=mutations)),
    )


def _option(name: str, value: str, action: base_pb2.HeaderValueOption.HeaderAppendAction.ValueType) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=name, value=value), append_action=action)
