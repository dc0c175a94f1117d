"""The chains of the inbound listener: which one takes what."""

from __future__ import annotations

import pytest

from hauberk.api.mesh_config import MeshConfig
from hauberk.api.peer_authentication import MtlsMode
from hauberk.mesh.inbound import InboundPort
from hauberk.mesh.protocol import Protocol
from hauberk.mesh.settings import MeshSettings
from hauberk.translate.inbound_listener import virtual_inbound
from hauberk.translate.limits import build_limits
from hauberk.translate.listener import Listener

LIMITS = build_limits(MeshConfig(), MeshSettings())


def listener(protocol: Protocol, mode: MtlsMode) -> Listener:
    return virtual_inbound((InboundPort(8080, protocol, mode),), mode, (), LIMITS, ipv6=True)


@pytest.mark.parametrize("mode", [MtlsMode.PERMISSIVE, MtlsMode.DISABLE])
def test_a_chain_for_plain_http_leaves_other_plaintext_to_one_as_specific(mode: MtlsMode) -> None:
    # Envoy chooses by the carrier before it looks at what is carried, and does not come back to a chain that left it open.
    plain = [chain.filter_chain_match for chain in listener(Protocol.SNIFFED, mode).filter_chains if not chain.HasField("transport_socket")]
    carried = [match for match in plain if match.transport_protocol != "tls"]
    assert {match.transport_protocol for match in carried} == {"raw_buffer"}
    assert {bool(match.application_protocols) for match in carried} == {True, False}


@pytest.mark.parametrize("protocol", [*Protocol])
def test_a_strict_port_has_no_chain_without_mutual_tls(protocol: Protocol) -> None:
    assert all(chain.HasField("transport_socket") for chain in listener(protocol, MtlsMode.STRICT).filter_chains)


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.SNIFFED])
def test_chains_for_callers_of_the_mesh_are_the_same_in_every_mode(protocol: Protocol) -> None:
    def mutual(mode: MtlsMode) -> list[bytes]:
        chains = listener(protocol, mode).filter_chains
        return [
            c.SerializeToString(deterministic=True) for c in chains if c.HasField("transport_socket") and not c.name.endswith("tcp-tls")
        ]

    assert mutual(MtlsMode.STRICT) == mutual(MtlsMode.PERMISSIVE) == mutual(MtlsMode.DISABLE)
