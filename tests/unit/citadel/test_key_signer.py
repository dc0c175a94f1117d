"""Signatures by a key: certificates, revocation lists and tokens, each with the hash that befits the key."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hauberk.citadel.key_signer import KeySigner, generate, jws_algorithm
from hauberk.citadel.key_store import KeyAlgorithm, Signer
from hauberk.identity.template import build_root

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SIGNERS = {
    "ES256": KeySigner(generate(KeyAlgorithm.ECDSA_P256)),
    "ES384": KeySigner(generate(KeyAlgorithm.ECDSA_P384)),
    "RS256": KeySigner(rsa.generate_private_key(65537, 2048)),
}


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_certificate_and_a_revocation_list_verify(algorithm: str) -> None:
    signer: Signer = SIGNERS[algorithm]
    root = signer.sign_certificate(
        build_root(trust_domain="cluster.local", public_key=signer.public_key, serial=1, now=NOW, lifetime=timedelta(days=1))
    )
    root.verify_directly_issued_by(root)
    crl = x509.CertificateRevocationListBuilder().issuer_name(root.subject).last_update(NOW).next_update(NOW + timedelta(hours=1))
    assert signer.sign_crl(crl).is_signature_valid(signer.public_key)


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_token_is_signed_as_jws_has_it(algorithm: str) -> None:
    signer = SIGNERS[algorithm]
    public, signature = signer.public_key, signer.sign(b"header.payload")
    assert jws_algorithm(public) == algorithm
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, b"header.payload", padding.PKCS1v15(), hashes.SHA256())
        return
    half = public.curve.key_size // 8
    assert len(signature) == 2 * half
    der = encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
    public.verify(der, b"header.payload", ec.ECDSA(hashes.SHA256() if half == 32 else hashes.SHA384()))
