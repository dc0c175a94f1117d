"""The filters that refuse who was revoked, and what they are told."""

import re
from typing import Any

from envoy.config.core.v3 import extension_pb2
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_pb2
from envoy.service.discovery.v3 import discovery_pb2
from xds.type.matcher.v3 import matcher_pb2

from hauberk.identity.trust import Revoked
from hauberk.translate.http import INBOUND_FILTERS, PLAIN_INBOUND_FILTERS
from hauberk.translate.revocation import BY_CERTIFICATE, BY_IDENTITY, HTTP, NOT_REVOKED, TCP, encode_revoked, http_filter, tcp_filter
from hauberk.xds.resource import EXTENSION

ME, OTHER = "spiffe://cluster.local/ns/shop/sa/me", "spiffe://cluster.local/ns/shop/sa/other"
SERIAL = "a" * 32


def rules(revoked: Revoked) -> http_pb2.RBAC:
    http = encode_revoked(revoked)[0]
    body = discovery_pb2.Resource.FromString(http.encoded).resource.value
    found = http_pb2.RBAC()
    assert extension_pb2.TypedExtensionConfig.FromString(body).typed_config.Unpack(found)
    return found


def decided(revoked: Revoked, *, identity: str, serial: str) -> tuple[str, bool]:
    """Which answer a caller gets, and whether that lets him in; the lookups are played as Envoy makes them."""
    known = {"UriSanInput": identity, "FilterStateInput": serial}
    step: matcher_pb2.Matcher.OnMatch | None = None
    matcher = rules(revoked).matcher
    while step is None or step.HasField("matcher"):
        matcher = step.matcher if step is not None else matcher
        tree = matcher.matcher_tree
        table: Any = tree.exact_match_map.map
        value = known[tree.input.typed_config.type_url.rpartition(".")[2]]
        step = table.get(value, matcher.on_no_match)
    action = rules_pb2.Action()
    assert step.action.typed_config.Unpack(action)
    return action.name, action.action == rules_pb2.RBAC.Action.ALLOW


def test_an_identity_is_refused_and_no_other() -> None:
    revoked = Revoked(identities=frozenset({ME}))
    assert decided(revoked, identity=ME, serial=SERIAL) == (BY_IDENTITY, False)
    assert decided(revoked, identity=OTHER, serial=SERIAL) == (NOT_REVOKED, True)


def test_a_certificate_is_refused_and_no_other_of_the_same_identity() -> None:
    revoked = Revoked(serials=frozenset({SERIAL}))
    assert decided(revoked, identity=ME, serial=SERIAL) == (BY_CERTIFICATE, False)
    assert decided(revoked, identity=ME, serial="b" * 32) == (NOT_REVOKED, True)


def test_both_are_asked_where_both_are_revoked() -> None:
    revoked = Revoked(serials=frozenset({SERIAL}), identities=frozenset({ME}))
    assert not decided(revoked, identity=ME, serial="b" * 32)[1]
    assert not decided(revoked, identity=OTHER, serial=SERIAL)[1]
    assert decided(revoked, identity=OTHER, serial="b" * 32) == (NOT_REVOKED, True)


def questions(revoked: Revoked) -> list[str]:
    """What is asked about a connection of bytes when its handshake is done."""
    return [found.decode() for found in re.findall(rb"%CEL\((.*?)\)%", encode_revoked(revoked)[1].encoded)]


def test_a_refused_connection_is_recorded_and_leads_nowhere() -> None:
    identity, serial = (f"connection.uri_san_peer_certificate in ['{ME}']", f"filter_state['hauberk.peer-serial'] in [b'{SERIAL}']")
    assert questions(Revoked(serials=frozenset({SERIAL}), identities=frozenset({ME}))) == [
        f"{serial} ? 'deny|{BY_CERTIFICATE}' : ''",
        f"{identity} ? 'deny|{BY_IDENTITY}' : ''",
    ]


def test_many_revocations_are_asked_in_parts_that_envoy_reads() -> None:
    serials = frozenset(f"{number:032x}" for number in range(10_000))
    asked = questions(Revoked(serials=serials))
    assert max(map(len, asked)) < 100_000
    assert sorted(re.findall(r"b'([0-9a-f]{32})'", "".join(asked))) == sorted(serials)


def test_where_nothing_is_revoked_nothing_is_asked() -> None:
    assert questions(Revoked()) == []
    assert rules(Revoked()) == http_pb2.RBAC()
    assert rules(Revoked(pods=frozenset({"u-1"}))) == http_pb2.RBAC(), "a pod is known by its certificates"


def test_equal_revocations_are_equal_bytes() -> None:
    many = [f"{number:032x}" for number in range(50)]
    forth, back = (encode_revoked(Revoked(serials=frozenset(order), identities=frozenset({ME, OTHER}))) for order in (many, many[::-1]))
    assert [each.encoded for each in forth] == [each.encoded for each in back]


def test_filters_and_what_they_are_told_have_the_same_names() -> None:
    assert [(each.type_url, each.name) for each in encode_revoked(Revoked())] == [(EXTENSION, HTTP), (EXTENSION, TCP)]
    assert (http_filter().name, tcp_filter().name) == (HTTP, TCP)


def test_a_sidecar_waits_for_what_its_filters_are_told() -> None:
    for source in (http_filter().config_discovery, tcp_filter().config_discovery):
        assert not source.HasField("default_config")
        assert source.config_source.initial_fetch_timeout.ToSeconds() == 0


def test_the_revoked_are_refused_before_anything_else_is_decided() -> None:
    assert INBOUND_FILTERS[0].name == HTTP
    assert INBOUND_FILTERS[1:] == PLAIN_INBOUND_FILTERS
