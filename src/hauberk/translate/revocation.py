"""Callers whose identity or certificate was revoked, refused by the sidecar they call: the next request of an open connection too.

The filters stand in every chain that takes mutual TLS and hold no rule of their own. Whom to refuse is a resource each (extension
configuration, discovered over the same stream as everything else), so that a revocation replaces one small resource, no listener and
no connection. Without a revocation there is nothing in them to be asked. A certificate revocation list refuses new handshakes as
well, but a validator of several trust domains does not look at it, and open connections are past it.

A request is refused when it comes. A connection of bytes is refused when its handshake is done and its program does not know of it
yet: expressions (CEL) that, if they hold, overrule what policy has decided, and so lead the connection nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from envoy.config.core.v3 import config_source_pb2, extension_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from envoy.extensions.matching.common_inputs.ssl.v3 import ssl_inputs_pb2
from google.protobuf.message import Message
from xds.core.v3 import extension_pb2 as matching_pb2
from xds.type.matcher.v3 import matcher_pb2

from hauberk.envoy.message import TYPE_PREFIX, ads, any_
from hauberk.envoy.name import REVOKED, revoked_name
from hauberk.identity.trust import Revoked
from hauberk.kit.groups import grouped
from hauberk.translate.access_log import DECISION_STATE
from hauberk.translate.connection_state import DENY, PEER, Config, State, after_handshake, state
from hauberk.translate.encode import encode_resource
from hauberk.translate.expression import literal
from hauberk.xds.resource import Resource

Matcher = matcher_pb2.Matcher
TypedExtensionConfig = matching_pb2.TypedExtensionConfig

HTTP: Final = REVOKED
TCP: Final = f"{REVOKED}-tcp"

# Names of what decided, as access records have them.
BY_IDENTITY: Final = revoked_name("identity")
BY_CERTIFICATE: Final = revoked_name("certificate")
NOT_REVOKED: Final = "hauberk-not-revoked"

# Where a connection keeps the serial of its caller's certificate: 32 hexadecimal digits.
SERIAL_STATE: Final = "hauberk.peer-serial"
PEER_SERIAL: Final = "%DOWNSTREAM_PEER_SERIAL%"

_ACTION: Final = "envoy.filters.rbac.action"
# Envoy reads expressions of up to 100,000 characters; longer lists are asked in parts.
_LONGEST: Final = 50_000


def http_filter() -> hcm_pb2.HttpFilter:
    """Refuses requests of the revoked; to stand before every other decision."""
    return hcm_pb2.HttpFilter(name=HTTP, config_discovery=_discovered(http_pb2.RBAC()))


def tcp_filter() -> listener_components_pb2.Filter:
    """Refuses new connections of the revoked where no revocation list did; to stand behind every other decision."""
    return listener_components_pb2.Filter(name=TCP, config_discovery=_discovered(Config()))


def encode_revoked(revoked: Revoked) -> tuple[Resource, ...]:
    """Whom every sidecar is to refuse: the configurations of both filters."""
    matcher = _matcher(revoked) if revoked.serials or revoked.identities else None
    return _resource(HTTP, http_pb2.RBAC(matcher=matcher)), _resource(TCP, after_handshake(_overruled(revoked)))


def _discovered(config: Message) -> config_source_pb2.ExtensionConfigSource:
    # It is waited for: a sidecar that began without it would believe whoever was revoked.
    return config_source_pb2.ExtensionConfigSource(config_source=ads(), type_urls=[TYPE_PREFIX + config.DESCRIPTOR.full_name])


def _resource(name: str, config: Message) -> Resource:
    return encode_resource(extension_pb2.TypedExtensionConfig(name=name, typed_config=any_(config)), name)


def _overruled(revoked: Revoked) -> Iterator[State]:
    # Of what is kept CEL sees the bytes.
    serials = (f"b'{serial}'" for serial in sorted(revoked.serials))
    identities = (literal(identity) for identity in sorted(revoked.identities))
    for known, values, name in ((f"filter_state['{SERIAL_STATE}']", serials, BY_CERTIFICATE), (PEER, identities, BY_IDENTITY)):
        for part in _parts(values):
            condition = f"{known} in [{part}]"
            yield state(DECISION_STATE, f"%CEL({condition} ? '{DENY}{name}' : '')%", upstream=True, if_any=True)


def _parts(values: Iterable[str]) -> Iterator[str]:
    """`values` separated by commas, in as many texts as their length demands."""
    return (",".join(part) for part in grouped(values, _LONGEST, each=1))


def _matcher(revoked: Revoked) -> Matcher:
    """Looked up and not searched: a thousand revocations cost a request as much as one."""
    unmatched = _action(NOT_REVOKED, rules_pb2.RBAC.Action.ALLOW)
    for key, values, name in (
        (network_inputs_pb2.FilterStateInput(key=SERIAL_STATE), revoked.serials, BY_CERTIFICATE),
        (ssl_inputs_pb2.UriSanInput(), revoked.identities, BY_IDENTITY),
    ):
        if values:
            unmatched = Matcher.OnMatch(matcher=_lookup(key, values, name, unmatched))
    return unmatched.matcher


def _lookup(key: Message, values: Iterable[str], name: str, unmatched: Matcher.OnMatch) -> Matcher:
    refusal = _action(name, rules_pb2.RBAC.Action.DENY)
    table = Matcher.MatcherTree.MatchMap(map=dict.fromkeys(values, refusal))
    looked_at = TypedExtensionConfig(name=key.DESCRIPTOR.full_name, typed_config=any_(key))
    return Matcher(matcher_tree=Matcher.MatcherTree(input=looked_at, exact_match_map=table), on_no_match=unmatched)


def _action(name: str, action: rules_pb2.RBAC.Action.ValueType) -> Matcher.OnMatch:
    return Matcher.OnMatch(action=TypedExtensionConfig(name=_ACTION, typed_config=any_(rules_pb2.Action(name=name, action=action))))
