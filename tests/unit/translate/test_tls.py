"""What the transport sockets of both sides ask for."""

from __future__ import annotations

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from hauberk.translate.clusters import black_hole_cluster
from hauberk.translate.tls import (
    CERTIFICATE,
    CERTIFICATE_UPSTREAM,
    ROOTS,
    ROOTS_UPSTREAM,
    downstream_tls,
    held_certificate,
    upstream_tls,
)
from hauberk.translate.tls_profile import TlsProfile

WEB = "spiffe://td/ns/shop/sa/web"


def calling(socket: base_pb2.TransportSocket) -> tls_pb2.UpstreamTlsContext:
    return tls_pb2.UpstreamTlsContext.FromString(socket.typed_config.value)


def called() -> tls_pb2.DownstreamTlsContext:
    return tls_pb2.DownstreamTlsContext.FromString(downstream_tls(["td"], ["h2"], TlsProfile()).typed_config.value)


def roots(common: tls_pb2.CommonTlsContext) -> str:
    return common.combined_validation_context.validation_context_sds_secret_config.name


def test_a_caller_believes_the_roots_of_the_mesh_alone_and_takes_its_certificate_at_the_first_connection() -> None:
    made = calling(upstream_tls([WEB], "sni", ["h2"], TlsProfile())).common_tls_context
    assert roots(made) == ROOTS_UPSTREAM
    assert not made.tls_certificate_sds_secret_configs
    assert CERTIFICATE_UPSTREAM.encode() in made.custom_tls_certificate_selector.typed_config.value


def test_one_cluster_that_nobody_connects_to_keeps_the_certificate() -> None:
    one, other = held_certificate(), upstream_tls([WEB], "sni", [], TlsProfile())
    kept, made = (calling(each).common_tls_context.custom_tls_certificate_selector.typed_config.value for each in (one, other))
    # The same question, so that Envoy asks it once, and the name once more: that it is wanted from the start.
    assert kept.startswith(made)
    assert kept.count(CERTIFICATE_UPSTREAM.encode()) == made.count(CERTIFICATE_UPSTREAM.encode()) + 1
    assert black_hole_cluster().transport_socket == one


def test_the_names_of_secrets_for_calls_are_no_listeners() -> None:
    made = called().common_tls_context
    assert [each.name for each in made.tls_certificate_sds_secret_configs] == [CERTIFICATE]
    assert roots(made) == ROOTS
    assert not {CERTIFICATE, ROOTS} & {CERTIFICATE_UPSTREAM, ROOTS_UPSTREAM}


def test_neither_side_resumes_a_session() -> None:
    assert calling(upstream_tls([WEB], "sni", [], TlsProfile())).max_session_keys.value == 0
    assert calling(upstream_tls([WEB], "sni", [], TlsProfile())).HasField("max_session_keys")
    made = called()
    assert made.disable_stateless_session_resumption
    assert made.disable_stateful_session_resumption
    assert made.require_client_certificate.value
