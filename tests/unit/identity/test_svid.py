"""What a validator refuses, rule by rule."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.unit.identity.conftest import NOW, Authorities

from hauberk.identity.svid import InvalidSvid, X509Svid, leaf_spiffe_id
from hauberk.identity.trust_bundle import InvalidTrustBundle, TrustBundle, to_pem

URI = "spiffe://cluster.local/ns/shop/sa/web"


def usage(*, digital_signature: bool = True, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def certificate(
    *,
    uris: tuple[str, ...] | None = (URI,),
    dns: tuple[str, ...] = (),
    ca: bool | None = False,
    key_usage: x509.KeyUsage | None = None,
    critical_usage: bool = True,
    no_usage: bool = False,
    purposes: tuple[x509.ObjectIdentifier, ...] | None = None,
) -> x509.Certificate:
    """A self-signed certificate with those extensions, right or wrong."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).public_key(key.public_key())
    builder = builder.serial_number(5).not_valid_before(NOW).not_valid_after(NOW + timedelta(hours=1))
    if uris is not None:
        names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if not no_usage:
        builder = builder.add_extension(key_usage or usage(), critical=critical_usage)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: certificate(uris=None), "no subject alternative name"),
        (lambda: certificate(uris=(), dns=("web",)), "exactly one URI"),
        (lambda: certificate(uris=(URI, "spiffe://cluster.local/x")), "exactly one URI"),
        (lambda: certificate(uris=("https://cluster.local/x",)), "not a SPIFFE ID"),
        (lambda: certificate(uris=("spiffe://cluster.local",)), "names a workload"),
        (lambda: certificate(ca=True), "may not be used to authenticate"),
        (lambda: certificate(no_usage=True), "has a key usage"),
        (lambda: certificate(critical_usage=False), "critical"),
        (lambda: certificate(key_usage=usage(digital_signature=False)), "digitalSignature"),
        (lambda: certificate(key_usage=usage(key_cert_sign=True), ca=None), "neither keyCertSign"),
        (lambda: certificate(key_usage=usage(crl_sign=True)), "neither keyCertSign"),
        (lambda: certificate(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), "serverAuth and clientAuth"),
    ],
)
def test_a_certificate_that_breaks_a_rule_is_no_svid(make: Callable[[], x509.Certificate], why: str) -> None:
    with pytest.raises(InvalidSvid, match=why):
        leaf_spiffe_id(make())


def test_an_svid_may_have_dns_names_and_no_extended_key_usage() -> None:
    assert str(leaf_spiffe_id(certificate(dns=("web", "web.shop")))) == URI


def test_a_chain_is_read_leaf_first(authorities: Authorities) -> None:
    leaf = authorities.leaf()
    svid = X509Svid.parse([to_pem(leaf), to_pem(authorities.issuing)])
    assert (svid.leaf, str(svid.spiffe_id)) == (leaf, URI)
    assert (svid.serial, len(svid.serial)) == (f"{leaf.serial_number:x}", 32)
    assert svid.issuer.startswith("CN=issuing")
    assert svid.not_after - svid.not_before > timedelta(hours=24)


@pytest.mark.parametrize("chain", [[], ["not a certificate"], ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]])
def test_what_is_no_chain_is_refused(chain: list[str]) -> None:
    with pytest.raises(InvalidSvid):
        X509Svid.parse(chain)


def test_a_chain_with_its_authority_first_is_refused(authorities: Authorities) -> None:
    with pytest.raises(InvalidSvid):
        X509Svid.parse([to_pem(authorities.issuing), to_pem(authorities.leaf())])


def test_a_trust_bundle_holds_signing_certificates_only(authorities: Authorities) -> None:
    bundle = TrustBundle.parse("cluster.local", [to_pem(authorities.root)])
    assert bundle.pems == (to_pem(authorities.root),)
    with pytest.raises(InvalidTrustBundle):
        TrustBundle.parse("cluster.local", [to_pem(authorities.leaf())])
    with pytest.raises(InvalidTrustBundle):
        TrustBundle.parse("cluster.local", ["nonsense"])


def test_an_empty_trust_bundle_is_legal() -> None:
    assert TrustBundle.parse("cluster.local", []).authorities == ()
