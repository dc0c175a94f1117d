"""Secrets for a proxy: who it is and whom it trusts, as the xDS resources that mTLS configuration names."""

from collections.abc import Iterable

from cryptography import x509
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import SPIFFECertValidatorConfig

from hauberk.agent.rotation import Identity
from hauberk.envoy.message import any_
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
    return Resource.of(Secret(name=TRUST, validation_context=_validation(trust)), TRUST)


def _validation(trust: Trust) -> CertificateValidationContext:
    if not trust.federated:
        return CertificateValidationContext(trusted_ca=_authorities(trust.x509_authorities))
    # Roots of two domains in one list would vouch for each other's names: Envoy's SPIFFE validator asks those of the peer's domain only.
    # A domain without any authority is left out, and with it everybody who says to be of it is refused.
    bundles = ((trust.trust_domain, trust.x509_authorities), *((each.trust_domain, each.x509_authorities) for each in trust.others))
    domains = [SPIFFECertValidatorConfig.TrustDomain(name=name, trust_bundle=_authorities(found)) for name, found in bundles if found]
    validator = SPIFFECertValidatorConfig(trust_domains=domains)
    return CertificateValidationContext(
        custom_validator_config=TypedExtensionConfig(name="envoy.tls.cert_validator.spiffe", typed_config=any_(validator))
    )


def _authorities(certificates: Iterable[x509.Certificate]) -> DataSource:
    return DataSource(inline_bytes="".join(to_pem(each) for each in certificates).encode())
