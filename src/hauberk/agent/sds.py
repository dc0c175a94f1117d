"""Secrets for a proxy: who it is and whom it trusts, as the two xDS resources every mTLS configuration names."""

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from hauberk.agent.rotation import Identity
from hauberk.identity.trust import Trust
from hauberk.identity.trust_bundle import to_pem
from hauberk.xds.layers import Layer
from hauberk.xds.resource import Resource

# Istio's names: configuration written for it refers to them.
IDENTITY = "default"
TRUST = "ROOTCA"
SLOT = "identity"


def build_identity_layer(identity: Identity, previous: Layer | None = None) -> Layer:
    """Both secrets of `identity`. An unchanged trust bundle stays the same resource and so is not sent again."""
    trust = Trust(sequence=0, trust_domain=identity.bundle.trust_domain, x509_authorities=identity.bundle.authorities)
    return Layer.of(SLOT, (encode_identity(identity), encode_trust(trust)), previous)


def encode_identity(identity: Identity) -> Resource:
    """The secret a proxy shows its peers; it holds the private key, so it is never written anywhere."""
    chain = "".join(to_pem(certificate) for certificate in identity.svid.chain)
    certificate = TlsCertificate(
        certificate_chain=DataSource(inline_bytes=chain.encode()),
        private_key=DataSource(inline_bytes=identity.key_pem),
    )
    return Resource.of(Secret(name=IDENTITY, tls_certificate=certificate), IDENTITY)


def encode_trust(trust: Trust) -> Resource:
    """The secret a proxy checks its peers with: nothing of `trust` that no proxy looks at changes its bytes."""
    authorities = "".join(trust.bundle.pems)
    validation = CertificateValidationContext(trusted_ca=DataSource(inline_bytes=authorities.encode()))
    return Resource.of(Secret(name=TRUST, validation_context=validation), TRUST)
