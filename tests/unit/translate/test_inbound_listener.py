from __future__ import annotations

from datetime import timedelta

import pytest
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from hauberk.api.peer_authentication import MtlsMode
from hauberk.envoy.name import AUTHORIZED
from hauberk.mesh.inbound import InboundPort
from hauberk.mesh.protocol import Protocol
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.inbound_listener import virtual_inbound
from hauberk.translate.limits import Limits
from hauberk.translate.listener import Listener
from hauberk.translate.revocation import TCP
from hauberk.translate.tcp_authorization import MUTUAL, PLAIN
from hauberk.translate.tls_profile import TlsProfile

LIMITS = Limits(
    trust_domains=TrustDomains(),
    connect_timeout=timedelta(seconds=10),
    connection_age=timedelta(hours=1),
    detection=timedelta(milliseconds=300),
    normalization="DEFAULT",
    registry_only=False,
    tls=TlsProfile(),
)


DISABLE = MtlsMode.DISABLE
MODES = (MtlsMode.STRICT, MtlsMode.PERMISSIVE, DISABLE)


def listener(protocol: Protocol, mode: MtlsMode, default: MtlsMode = MtlsMode.STRICT) -> Listener:
    return virtual_inbound((InboundPort(80, protocol, mode),), default, LIMITS, ipv6=True)


def chains(protocol: Protocol, mode: MtlsMode) -> list[str]:
    return [chain.name for chain in listener(protocol, mode).filter_chains if chain.filter_chain_match.HasField("destination_port")]


@pytest.mark.parametrize(
    ("protocol", "mode", "expected"),
    [
        (Protocol.HTTP, MtlsMode.STRICT, ["80-http-mtls"]),
        (Protocol.HTTP, MtlsMode.PERMISSIVE, ["80-http-mtls", "80-http"]),
        (Protocol.GRPC, MtlsMode.DISABLE, ["80-http-mtls", "80-http"]),
        (Protocol.TCP, MtlsMode.STRICT, ["80-tcp-mtls", "80-tcp-tls"]),
        (Protocol.TCP, MtlsMode.PERMISSIVE, ["80-tcp-mtls", "80-tcp-tls", "80-tcp-plain"]),
        (Protocol.TCP, MtlsMode.DISABLE, ["80-tcp-plain"]),
        (Protocol.SNIFFED, MtlsMode.STRICT, ["80-http-mtls", "80-tcp-mtls", "80-tcp-tls"]),
        (Protocol.SNIFFED, MtlsMode.PERMISSIVE, ["80-http-mtls", "80-tcp-mtls", "80-tcp-tls", "80-http", "80-tcp-plain"]),
    ],
)
def test_a_port_has_the_chains_of_its_protocol_and_mode(protocol: Protocol, mode: MtlsMode, expected: list[str]) -> None:
    assert chains(protocol, mode) == expected


@pytest.mark.parametrize("protocol", list(Protocol))
def test_strict_has_no_chain_without_mutual_tls(protocol: Protocol) -> None:
    made = listener(protocol, MtlsMode.STRICT)
    assert all(chain.HasField("transport_socket") for chain in made.filter_chains)
    assert not made.HasField("default_filter_chain")


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.SNIFFED, Protocol.TCP])
def test_chains_for_callers_of_the_mesh_are_the_same_in_strict_and_permissive(protocol: Protocol) -> None:
    strict, permissive = (
        {chain.name: chain for chain in listener(protocol, mode).filter_chains} for mode in (MtlsMode.STRICT, MtlsMode.PERMISSIVE)
    )
    for name in strict:
        if name.endswith("-mtls"):
            assert strict[name] == permissive[name]


def test_no_two_chains_match_the_same_connections() -> None:
    for protocol in Protocol:
        for mode in (MtlsMode.STRICT, MtlsMode.PERMISSIVE, MtlsMode.DISABLE):
            made = listener(protocol, mode, MtlsMode.PERMISSIVE)
            matches = [chain.filter_chain_match.SerializeToString(deterministic=True) for chain in made.filter_chains]
            assert len(set(matches)) == len(matches), (protocol, mode)


def test_a_server_that_may_speak_first_is_not_waited_for_on_a_port_without_tls() -> None:
    tls = next(f for f in listener(Protocol.TCP, MtlsMode.DISABLE).listener_filters if f.name.endswith("tls_inspector"))
    assert tls.filter_disabled.destination_port_range.start == 80


def test_plain_http_is_looked_for_only_where_nothing_is_declared() -> None:
    def not_on(made: Listener) -> int:
        (found,) = (f for f in made.listener_filters if f.name.endswith("http_inspector"))
        return found.filter_disabled.destination_port_range.start

    assert [not_on(listener(each, MtlsMode.PERMISSIVE)) for each in (Protocol.HTTP, Protocol.TCP, Protocol.SNIFFED)] == [80, 80, 0]


@pytest.mark.parametrize("protocol", list(Protocol))
def test_between_strict_and_permissive_only_chains_come_and_go(protocol: Protocol) -> None:
    made = [listener(protocol, mode, default) for mode in MODES for default in MODES if protocol is not Protocol.TCP or mode is not DISABLE]
    for each in made:
        del each.filter_chains[:]
    assert all(each == made[0] for each in made)


def test_a_program_is_connected_to_by_the_second_listener_which_knows_what_was_decided() -> None:
    for chain in listener(Protocol.TCP, MtlsMode.STRICT).filter_chains:
        if "-tcp-" in chain.name:
            *_, decided, revoked, proxy = chain.filters
            assert decided.name == MUTUAL
            assert revoked.name == TCP
            assert tcp_proxy_pb2.TcpProxy.FromString(proxy.typed_config.value).cluster == AUTHORIZED


def test_policy_is_asked_before_a_plain_connection_is_led_to_the_program() -> None:
    plain = [chain for chain in listener(Protocol.TCP, MtlsMode.PERMISSIVE).filter_chains if not chain.HasField("transport_socket")]
    assert [chain.name for chain in plain] == ["80-tcp-tls", "80-tcp-plain"]
    assert [chain.filters[-2].name for chain in plain] == [PLAIN, PLAIN]
