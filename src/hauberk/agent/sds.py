"""Secrets for a proxy: who it is and whom it trusts, as the xDS resources that mTLS configuration names."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import SPIFFECertValidatorConfig

from hauberk.agent.rotation import Identity
from hauberk.envoy.message import any_, encode, with_newer
from hauberk.identity.trust import Trust
from hauberk.identity.trust_bundle import to_pem
from hauberk.translate.tls import CERTIFICATE, CERTIFICATE_NEWEST, CERTIFICATE_UPSTREAM, ROOTS, ROOTS_UPSTREAM
from hauberk.translate.tls_profile import NEWEST
from hauberk.xds.layers import Layer
from hauberk.xds.resource import Resource

# Istio's names: configuration written for it refers to them.
IDENTITY = CERTIFICATE
TRUST = ROOTS
SLOT = "identity"
_TLS_PARAMETERS = 9  # field number of TlsCertificate.tls_params


@dataclass(frozen=True, slots=True, eq=False)
class Secrets:
    """What a proxy is to hold, with what it was made of: that is proven when the proxy has acknowledged the layer."""

    layer: Layer
    trust: Trust
    identity: Identity | None

    @property
    def whole(self) -> bool:
        """Whether a proxy can serve with them."""
        return self.identity is not None


def build_secrets(trust: Trust, identity: Identity | None, previous: Secrets | None = None) -> Secrets:
    """The secrets for a proxy. What did not change stays the same resource and so is not sent again.

    Without an identity only whom to trust: a proxy that outlived its agent keeps its own certificate meanwhile.
    """
    own = () if identity is None else encode_identity(identity)
    return Secrets(Layer.of(SLOT, (*own, *encode_trusts(trust)), previous.layer if previous is not None else None), trust, identity)


def encode_identity(identity: Identity) -> tuple[Resource, ...]:
    """The secrets a proxy shows its peers; they hold the private key, so they are never written anywhere."""
    chain = "".join(to_pem(certificate) for certificate in identity.svid.chain)
    certificate = TlsCertificate(
        certificate_chain=DataSource(inline_bytes=chain.encode()),
        private_key=DataSource(inline_bytes=identity.key_pem),
    )
    newest = with_newer(TlsCertificate.FromString(encode(certificate)), _TLS_PARAMETERS, encode(NEWEST))
    kinds = ((CERTIFICATE, certificate), (CERTIFICATE_NEWEST, newest), (CERTIFICATE_UPSTREAM, certificate))
    return tuple(Resource.of(Secret(name=name, tls_certificate=each), name) for name, each in kinds)


@lru_cache(maxsize=4)  # the same for all pods of a machine
def encode_trusts(trust: Trust) -> tuple[Resource, ...]:
    """All secrets that say whom to trust."""
    return encode_trust(trust), encode_own_trust(trust)


def encode_trust(trust: Trust) -> Resource:
    """The secret a proxy checks its peers with: nothing of `trust` that no proxy looks at changes its bytes."""
    return Resource.of(Secret(name=TRUST, validation_context=_validation(trust)), TRUST)


def encode_own_trust(trust: Trust) -> Resource:
    """The secret it checks the services of this mesh with, which no foreign authority may certify.

    A certificate with two names, the first of them foreign, is looked up under that first one, and then believed for either.
    """
    return Resource.of(Secret(name=ROOTS_UPSTREAM, validation_context=_own_validation(trust)), ROOTS_UPSTREAM)


def _own_validation(trust: Trust) -> CertificateValidationContext:
    context = CertificateValidationContext(trusted_ca=_authorities(trust.x509_authorities))
    if trust.crls:
        # Of the leaf's issuer alone: whoever does not believe an issuer any more takes its root out of the bundle.
        context.only_verify_leaf_cert_crl = True
        context.crl.inline_bytes = b"".join(x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM) for crl in trust.crls)
    return context


def _validation(trust: Trust) -> CertificateValidationContext:
    if not trust.federated:
        return _own_validation(trust)
    # Roots of two domains in one list would vouch for each other's names: Envoy's SPIFFE validator asks those of the peer's domain only.
    # It looks at no revocation list; the filters of `translate.revocation` refuse then.
    # A domain without any authority is left out, and with it everybody who says to be of it is refused.
    bundles = ((trust.trust_domain, trust.x509_authorities), *((each.trust_domain, each.x509_authorities) for each in trust.others))
    domains = [SPIFFECertValidatorConfig.TrustDomain(name=name, trust_bundle=_authorities(found)) for name, found in bundles if found]
    validator = SPIFFECertValidatorConfig(trust_domains=domains)
    return CertificateValidationContext(
        custom_validator_config=TypedExtensionConfig(name="envoy.tls.cert_validator.spiffe", typed_config=any_(validator))
    )


def _authorities(certificates: Iterable[x509.Certificate]) -> DataSource:
    return DataSource(inline_bytes="".join(to_pem(each) for each in certificates).encode())
