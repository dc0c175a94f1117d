"""A caller is one identity: a certificate with several URI names is none (X509-SVID, 2; RFC 5280 allows any number).

Envoy's validators accept it if one of its names fits, a policy matches if any of them does, and a revocation only if none but the
revoked one is there. An authority of another trust domain could put one of our names behind one of its own, and be believed for both.
"""

from __future__ import annotations

from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2
from envoy.extensions.matching.common_inputs.ssl.v3 import ssl_inputs_pb2
from xds.core.v3 import extension_pb2
from xds.type.matcher.v3 import matcher_pb2, string_pb2

from hauberk.envoy.message import any_
from hauberk.translate.access_log import DECISION_STATE, failed_connections
from hauberk.translate.connection_state import DENY, PEER, State, state
from hauberk.translate.expression import evaluated, if_, kept, literal

Matcher = matcher_pb2.Matcher
Predicate = matcher_pb2.Matcher.MatcherList.Predicate
TypedExtensionConfig = extension_pb2.TypedExtensionConfig

# Names of what decided, as access records have them.
SEVERAL: Final = "hauberk-several-identities"
ONE: Final = "hauberk-one-identity"

# No SPIFFE ID contains it, and Envoy puts it between names.
_BETWEEN: Final = ","

# Where a connection keeps all names of its caller.
NAMES_STATE: Final = "hauberk.peer-names"
PEER_NAMES: Final = "%DOWNSTREAM_PEER_URI_SAN%"


def one_identity() -> listener_components_pb2.Filter:
    """Ends a connection for requests at its first byte if its caller has several names; to stand before every other decision."""
    several = Predicate.SinglePredicate(
        input=TypedExtensionConfig(name="names", typed_config=any_(ssl_inputs_pb2.UriSanInput())),
        value_match=string_pb2.StringMatcher(contains=_BETWEEN),
    )
    refuse = Matcher.MatcherList.FieldMatcher(
        predicate=Predicate(single_predicate=several), on_match=_decide(SEVERAL, rules_pb2.RBAC.Action.DENY)
    )
    matcher = Matcher(matcher_list=Matcher.MatcherList(matchers=[refuse]), on_no_match=_decide(ONE, rules_pb2.RBAC.Action.ALLOW))
    rbac = rbac_pb2.RBAC(stat_prefix="one-identity.", matcher=matcher)
    return listener_components_pb2.Filter(name="envoy.filters.network.rbac", typed_config=any_(rbac))


def refused_if_several() -> State:
    """Overrules the decision about a connection of bytes whose caller has several names; to be kept behind all others."""
    # CEL knows the first name only, and of what is kept it can tell the length.
    several = f"size({kept(NAMES_STATE)}) != size({PEER})"
    return state(DECISION_STATE, evaluated(if_(several, literal(f"{DENY}{SEVERAL}"), "''")), upstream=True, if_any=True)


def refused_connections(http_chain: str) -> accesslog_pb2.AccessLogFilter:
    """Connections that are in no other record: those that failed, and those that were refused here and would have carried requests.

    Chains whose names end with `http_chain` record requests only.
    """
    unread = f"xds.filter_chain_name.endsWith('{http_chain}') && connection.termination_details.contains('{SEVERAL}')"
    extension = accesslog_pb2.ExtensionFilter(
        name="envoy.access_loggers.extension_filters.cel", typed_config=any_(cel_pb2.ExpressionFilter(expression=unread))
    )
    refused = accesslog_pb2.AccessLogFilter(extension_filter=extension)
    return accesslog_pb2.AccessLogFilter(or_filter=accesslog_pb2.OrFilter(filters=[failed_connections(), refused]))


def _decide(name: str, action: rules_pb2.RBAC.Action.ValueType) -> Matcher.OnMatch:
    decision = any_(rules_pb2.Action(name=name, action=action))
    return Matcher.OnMatch(action=TypedExtensionConfig(name="envoy.filters.rbac.action", typed_config=decision))
