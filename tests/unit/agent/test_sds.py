"""The two secrets of a proxy."""

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource

from hauberk.agent.rotation import Identity
from hauberk.agent.sds import build_identity_layer
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.svid import X509Svid
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.trust_bundle import TrustBundle, to_pem
from hauberk.xds.layers import Layer
from hauberk.xds.resource import SECRET

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(trust_domain="td", public_key=KEY.public_key(), serial=1, now=NOW, lifetime=timedelta(days=9)).sign(KEY, hashes.SHA256())
BUNDLE = TrustBundle(trust_domain="td", authorities=(ROOT,))


def identity(serial: int, key_pem: bytes) -> Identity:
    leaf = build_leaf(
        spiffe_id=workload_id("td", "shop", "web"),
        public_key=KEY.public_key(),
        issuer=ROOT,
        serial=serial,
        now=NOW,
        lifetime=timedelta(hours=1),
    ).sign(KEY, hashes.SHA256())
    return Identity(svid=X509Svid.parse([to_pem(leaf), to_pem(ROOT)]), bundle=BUNDLE, key_pem=key_pem)


def secret(layer: Layer, name: str) -> Secret:
    resource = layer.tables[SECRET].get(name)
    assert resource is not None
    return Secret.FromString(EncodedResource.FromString(resource.encoded).resource.value)


def test_a_proxy_shows_its_whole_chain_and_its_key() -> None:
    made = identity(5, b"the key")
    certificate = secret(build_identity_layer(made), "default").tls_certificate
    assert certificate.private_key.inline_bytes == b"the key"
    assert certificate.certificate_chain.inline_bytes.decode() == "".join(to_pem(c) for c in made.svid.chain)


def test_a_proxy_trusts_the_roots_of_its_bundle() -> None:
    validation = secret(build_identity_layer(identity(5, b"x")), "ROOTCA").validation_context
    assert validation.trusted_ca.inline_bytes.decode() == to_pem(ROOT)


def test_a_new_certificate_changes_one_secret_and_not_the_other() -> None:
    first, second = build_identity_layer(identity(5, b"x")), build_identity_layer(identity(6, b"y"))
    versions = [{r.name: r.version for r in layer} for layer in (first, second)]
    assert versions[0]["ROOTCA"] == versions[1]["ROOTCA"]
    assert versions[0]["default"] != versions[1]["default"]


def test_the_key_is_in_no_repr() -> None:
    assert "the key" not in "".join(map(repr, build_identity_layer(identity(5, b"the key"))))
