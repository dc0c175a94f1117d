"""TLS between sidecars: mutual, certificates and roots by SDS from the agent, versions and algorithms by the mesh's profile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2

from hauberk.envoy.message import ads, any_, boolean, encode, field, newer_any, uint32
from hauberk.translate.tls_profile import TlsProfile, tls_parameters

Common = tls_pb2.CommonTlsContext
Secret = secret_pb2.SdsSecretConfig

# Names of secrets. The agent serves one certificate under three: as it is; with the demand for TLS 1.3 beside it; and for calls, under
# a name that no listener asks for, because Envoy never asks twice and a selector that comes second would wait for ever.
CERTIFICATE: Final = "default"
CERTIFICATE_NEWEST: Final = "default-tls13"
CERTIFICATE_UPSTREAM: Final = "default-upstream"
# Whom callers may be certified by: federated trust domains too. And who may certify a service of this mesh: its own roots alone.
ROOTS: Final = "ROOTCA"
ROOTS_UPSTREAM: Final = "ROOTCA-upstream"

# Offered by the calling sidecar, so that the called one knows what is inside without looking. `h2` stands beside the mesh's own
# word where HTTP/2 is spoken: it is the one that the two agree on.
ALPN_HTTP: Final = "hauberk-http"
ALPN_TCP: Final = "hauberk-tcp"

# Newer than the installed descriptors: messages and the numbers of their fields.
_ON_DEMAND: Final = "envoy.extensions.transport_sockets.tls.cert_selectors.on_demand_secret.v3.Config"
_SOURCE, _MAPPER, _PREFETCH = 1, 2, 3
_STATIC_NAME: Final = "envoy.extensions.transport_sockets.tls.cert_mappers.static_name.v3.StaticName"
_NAME: Final = 1


def upstream_tls(identities: Iterable[str], sni: str, alpn: Iterable[str], profile: TlsProfile) -> base_pb2.TransportSocket:
    """The calling side: the server's certificate must carry one of `identities` (a trailing `*` stands for any rest).

    The own certificate and key are copied into the context of a cluster at its first connection, not before: of the services of a
    mesh a program calls few.
    """
    common = _common(identities, ROOTS_UPSTREAM, alpn, profile)
    common.custom_tls_certificate_selector.CopyFrom(_on_demand())
    return _upstream(tls_pb2.UpstreamTlsContext(common_tls_context=common, sni=sni))


def held_certificate() -> base_pb2.TransportSocket:
    """For a cluster that nobody connects to: it has the certificate for calls from the start, and keeps it.

    Nothing is ready before it has come, and the first connection of any other cluster finds it even if the agent is away.
    """
    common = Common(custom_tls_certificate_selector=_on_demand(CERTIFICATE_UPSTREAM))
    return _upstream(tls_pb2.UpstreamTlsContext(common_tls_context=common))


def downstream_tls(trust_domains: Iterable[str], alpn: Iterable[str], profile: TlsProfile) -> base_pb2.TransportSocket:
    """The called side: whoever connects must hold a certificate of one of `trust_domains`."""
    common = _common((f"spiffe://{domain}/*" for domain in trust_domains), ROOTS, alpn, profile)
    common.tls_certificate_sds_secret_configs.append(Secret(name=certificate_name(profile), sds_config=ads()))
    tls = tls_pb2.DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate=boolean(True),
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return base_pb2.TransportSocket(name="tls", typed_config=any_(tls))


def certificate_name(profile: TlsProfile) -> str:
    """The secret of the called side: the policy for approved algorithms alone would take TLS 1.2, a certificate can demand more."""
    return CERTIFICATE_NEWEST if profile.approved and profile.minimum == "1.3" else CERTIFICATE


def _upstream(tls: tls_pb2.UpstreamTlsContext) -> base_pb2.TransportSocket:
    # A resumed session skips the certificate: a peer whose certificate has expired would still be believed.
    tls.max_session_keys.CopyFrom(uint32(0))
    return base_pb2.TransportSocket(name="tls", typed_config=any_(tls))


def _on_demand(*prefetched: str) -> extension_pb2.TypedExtensionConfig:
    mapper = extension_pb2.TypedExtensionConfig(
        name="name", typed_config=newer_any(_STATIC_NAME, field(_NAME, CERTIFICATE_UPSTREAM.encode()))
    )
    config = field(_SOURCE, encode(ads())) + field(_MAPPER, encode(mapper))
    config += b"".join(field(_PREFETCH, name.encode()) for name in prefetched)
    return extension_pb2.TypedExtensionConfig(name="on-demand", typed_config=newer_any(_ON_DEMAND, config))


def _common(identities: Iterable[str], roots: str, alpn: Iterable[str], profile: TlsProfile) -> Common:
    return Common(
        tls_params=tls_parameters(profile),
        combined_validation_context=Common.CombinedCertificateValidationContext(
            default_validation_context=common_pb2.CertificateValidationContext(
                match_typed_subject_alt_names=[_san(identity) for identity in identities]
            ),
            validation_context_sds_secret_config=Secret(name=roots, sds_config=ads()),
        ),
        alpn_protocols=alpn,
    )


def _san(identity: str) -> common_pb2.SubjectAltNameMatcher:
    wild = identity.endswith("*")
    matcher = string_pb2.StringMatcher(prefix=identity[:-1]) if wild else string_pb2.StringMatcher(exact=identity)
    return common_pb2.SubjectAltNameMatcher(san_type=common_pb2.SubjectAltNameMatcher.SanType.URI, matcher=matcher)
