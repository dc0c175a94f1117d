"""Whom the filter behind the handshake refuses; with real certificates: tests/e2e/test_tls_attacks.py."""

from __future__ import annotations

from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2
from xds.type.matcher.v3 import matcher_pb2

from hauberk.translate.one_identity import ONE, SEVERAL, one_identity, refused_connections


def decided(match: matcher_pb2.Matcher.OnMatch) -> tuple[str, rules_pb2.RBAC.Action.ValueType]:
    action = rules_pb2.Action.FromString(match.action.typed_config.value)
    return action.name, action.action


def test_several_names_are_refused_and_one_is_not() -> None:
    matcher = rbac_pb2.RBAC.FromString(one_identity().typed_config.value).matcher
    (refusal,) = matcher.matcher_list.matchers
    assert refusal.predicate.single_predicate.value_match.contains == ","
    assert decided(refusal.on_match) == (SEVERAL, rules_pb2.RBAC.Action.DENY)
    assert decided(matcher.on_no_match) == (ONE, rules_pb2.RBAC.Action.ALLOW)


def test_refusals_where_only_requests_are_recorded_are_recorded_by_the_listener() -> None:
    failed, refused = refused_connections("http-mtls").or_filter.filters
    assert failed.HasField("extension_filter")
    assert SEVERAL.encode() in refused.extension_filter.typed_config.value
