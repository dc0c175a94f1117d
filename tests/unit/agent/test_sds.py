"""The two secrets of a proxy."""

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import SPIFFECertValidatorConfig
from envoy.service.discovery.v3.discovery_pb2 import Resource as EncodedResource

from hauberk.agent.rotation import Identity
from hauberk.agent.sds import Secrets, build_secrets, encode_trust
from hauberk.envoy.message import with_newer
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.svid import X509Svid
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.trust import ForeignBundle, Trust
from hauberk.identity.trust_bundle import to_pem
from hauberk.translate.tls import CERTIFICATE, CERTIFICATE_NEWEST, CERTIFICATE_UPSTREAM, ROOTS_UPSTREAM
from hauberk.translate.tls_profile import NEWEST
from hauberk.xds.layers import Layer
from hauberk.xds.resource import SECRET

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(trust_domain="td", public_key=KEY.public_key(), serial=1, now=NOW, lifetime=timedelta(days=9)).sign(KEY, hashes.SHA256())
BELIEVED = Trust(sequence=1, trust_domain="td", x509_authorities=(ROOT,))


def identity(serial: int, key_pem: bytes) -> Identity:
    leaf = build_leaf(
        spiffe_id=workload_id("td", "shop", "web"),
        public_key=KEY.public_key(),
        issuer=ROOT,
        serial=serial,
        now=NOW,
        lifetime=timedelta(hours=1),
    ).sign(KEY, hashes.SHA256())
    return Identity(svid=X509Svid.parse([to_pem(leaf), to_pem(ROOT)]), authority_id="A", key_pem=key_pem)


def layer_of(made: Identity) -> Layer:
    return build_secrets(BELIEVED, made).layer


def secret(layer: Layer, name: str) -> Secret:
    resource = layer.tables[SECRET].get(name)
    assert resource is not None
    return Secret.FromString(EncodedResource.FromString(resource.encoded).resource.value)


def test_a_proxy_shows_its_whole_chain_and_its_key() -> None:
    made = identity(5, b"the key")
    certificate = secret(layer_of(made), "default").tls_certificate
    assert certificate.private_key.inline_bytes == b"the key"
    assert certificate.certificate_chain.inline_bytes.decode() == "".join(to_pem(c) for c in made.svid.chain)


def test_a_proxy_trusts_the_roots_of_its_bundle() -> None:
    validation = secret(layer_of(identity(5, b"x")), "ROOTCA").validation_context
    assert validation.trusted_ca.inline_bytes.decode() == to_pem(ROOT)


def test_a_new_certificate_changes_one_secret_and_not_the_other() -> None:
    first, second = layer_of(identity(5, b"x")), layer_of(identity(6, b"y"))
    versions = [{r.name: r.version for r in layer} for layer in (first, second)]
    assert versions[0]["ROOTCA"] == versions[1]["ROOTCA"]
    assert versions[0]["default"] != versions[1]["default"]


def test_the_key_is_in_no_repr() -> None:
    assert "the key" not in "".join(map(repr, layer_of(identity(5, b"the key"))))


def bundles(trust: Trust) -> dict[str, str]:
    """What the SPIFFE validator of the secret knows by trust domain."""
    found = Secret.FromString(EncodedResource.FromString(encode_trust(trust).encoded).resource.value).validation_context
    assert not found.trusted_ca.inline_bytes
    config = SPIFFECertValidatorConfig.FromString(found.custom_validator_config.typed_config.value)
    return {each.name: each.trust_bundle.inline_bytes.decode() for each in config.trust_domains}


def test_foreign_roots_stand_beside_ours_and_are_never_in_one_list_with_them() -> None:
    other = ForeignBundle(trust_domain="b.td", x509_authorities=(ROOT, ROOT))
    trust = Trust(sequence=1, trust_domain="td", x509_authorities=(ROOT,), federated=(other,))
    assert bundles(trust) == {"td": to_pem(ROOT), "b.td": to_pem(ROOT) * 2}


def test_a_foreign_domain_whose_keys_are_all_revoked_is_known_by_none() -> None:
    trust = Trust(sequence=1, trust_domain="td", x509_authorities=(ROOT,), federated=(ForeignBundle(trust_domain="b.td"),))
    assert bundles(trust) == {"td": to_pem(ROOT)}


def test_our_other_names_have_our_roots_whoever_else_claims_them() -> None:
    stranger = ForeignBundle(trust_domain="old", x509_authorities=(ROOT, ROOT))
    trust = Trust(sequence=1, trust_domain="td", x509_authorities=(ROOT,), federated=(stranger,), aliases=("old",))
    assert bundles(trust) == {"td": to_pem(ROOT), "old": to_pem(ROOT)}


def test_what_no_proxy_looks_at_changes_neither_secret() -> None:
    made = identity(5, b"x")
    before = build_secrets(BELIEVED, made)
    after = build_secrets(Trust(sequence=2, trust_domain="td", x509_authorities=(ROOT,), renew=frozenset({"A"})), made, before)
    assert after.layer is before.layer
    assert after.trust.sequence == 2


def test_without_an_identity_a_proxy_hears_whom_to_trust_and_nothing_of_itself() -> None:
    secrets: Secrets = build_secrets(BELIEVED, None)
    assert [resource.name for resource in secrets.layer] == ["ROOTCA", "ROOTCA-upstream"]
    assert not secrets.whole


def test_a_proxy_gets_its_certificate_under_the_names_its_configuration_uses_one_of_which_demands_the_newest_tls() -> None:
    layer = layer_of(identity(5, b"the key"))
    shown = [secret(layer, name).tls_certificate for name in (CERTIFICATE, CERTIFICATE_UPSTREAM, CERTIFICATE_NEWEST)]
    assert shown[0] == shown[1]
    assert shown[2] == with_newer(TlsCertificate.FromString(shown[0].SerializeToString()), 9, NEWEST.SerializeToString())


def test_whoever_is_federated_vouches_for_no_service_of_this_mesh() -> None:
    foreign = ForeignBundle(trust_domain="other", x509_authorities=(ROOT,))
    trust = Trust(sequence=2, trust_domain="td", x509_authorities=(ROOT,), federated=(foreign,))
    own = secret(build_secrets(trust, identity(5, b"x")).layer, ROOTS_UPSTREAM).validation_context
    assert not own.HasField("custom_validator_config")
    assert own.trusted_ca.inline_bytes.decode() == to_pem(ROOT)
