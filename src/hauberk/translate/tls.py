"""TLS between sidecars: 1.3 only, mutual, certificates and roots by SDS from the agent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2

from hauberk.envoy.message import ads, any_, boolean, uint32

CERTIFICATE: Final = "default"
ROOTS: Final = "ROOTCA"

# Offered by the calling sidecar, so that the called one knows what is inside without looking. `h2` stands beside the mesh's own
# word where HTTP/2 is spoken: it is the one that the two agree on.
ALPN_HTTP: Final = "hauberk-http"
ALPN_TCP: Final = "hauberk-tcp"

# Post-quantum and classical together first: what is recorded today must not be read in ten years.
_GROUPS: Final = ("X25519MLKEM768", "X25519", "P-256")


def upstream_tls(identities: Iterable[str], sni: str, alpn: Iterable[str]) -> base_pb2.TransportSocket:
    """The calling side: the server's certificate must carry one of `identities` (a trailing `*` stands for any rest)."""
    tls = tls_pb2.UpstreamTlsContext(common_tls_context=_common(identities, alpn), sni=sni)
    # A resumed session skips the certificate: a peer whose certificate has expired would still be believed.
    tls.max_session_keys.CopyFrom(uint32(0))
    return base_pb2.TransportSocket(name="tls", typed_config=any_(tls))


def downstream_tls(trust_domains: Iterable[str], alpn: Iterable[str]) -> base_pb2.TransportSocket:
    """The called side: whoever connects must hold a certificate of one of `trust_domains`."""
    identities = (f"spiffe://{domain}/*" for domain in trust_domains)
    tls = tls_pb2.DownstreamTlsContext(
        common_tls_context=_common(identities, alpn),
        require_client_certificate=boolean(True),
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return base_pb2.TransportSocket(name="tls", typed_config=any_(tls))


def _common(identities: Iterable[str], alpn: Iterable[str]) -> tls_pb2.CommonTlsContext:
    version = common_pb2.TlsParameters.TlsProtocol.TLSv1_3
    return tls_pb2.CommonTlsContext(
        tls_params=common_pb2.TlsParameters(
            tls_minimum_protocol_version=version, tls_maximum_protocol_version=version, ecdh_curves=_GROUPS
        ),
        tls_certificate_sds_secret_configs=[secret_pb2.SdsSecretConfig(name=CERTIFICATE, sds_config=ads())],
        combined_validation_context=tls_pb2.CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=common_pb2.CertificateValidationContext(
                match_typed_subject_alt_names=[_san(identity) for identity in identities]
            ),
            validation_context_sds_secret_config=secret_pb2.SdsSecretConfig(name=ROOTS, sds_config=ads()),
        ),
        alpn_protocols=alpn,
    )


def _san(identity: str) -> common_pb2.SubjectAltNameMatcher:
    wild = identity.endswith("*")
    matcher = string_pb2.StringMatcher(prefix=identity[:-1]) if wild else string_pb2.StringMatcher(exact=identity)
    return common_pb2.SubjectAltNameMatcher(san_type=common_pb2.SubjectAltNameMatcher.SanType.URI, matcher=matcher)
