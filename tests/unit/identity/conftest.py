"""A small authority to sign with: templates themselves never sign."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import build_issuing, build_leaf, build_root

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SERIAL = 1 << 127 | 7


@dataclass(frozen=True)
class Authorities:
    """A root and an issuing certificate below it, with their keys."""

    root_key: ec.EllipticCurvePrivateKey
    root: x509.Certificate
    issuing_key: ec.EllipticCurvePrivateKey
    issuing: x509.Certificate

    def leaf(
        self, name: str = "spiffe://cluster.local/ns/shop/sa/web", lifetime: timedelta = timedelta(hours=24), now: datetime = NOW
    ) -> x509.Certificate:
        template = build_leaf(
            spiffe_id=SpiffeId.parse(name),
            public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
            issuer=self.issuing,
            serial=SERIAL,
            now=now,
            lifetime=lifetime,
        )
        return template.sign(self.issuing_key, hashes.SHA256())


@pytest.fixture(scope="session")
def authorities() -> Authorities:
    root_key, issuing_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = build_root(
        trust_domain="cluster.local", public_key=root_key.public_key(), serial=SERIAL, now=NOW, lifetime=timedelta(days=3650)
    ).sign(root_key, hashes.SHA256())
    issuing = build_issuing(
        trust_domain="cluster.local",
        public_key=issuing_key.public_key(),
        root=root,
        serial=SERIAL + 1,
        now=NOW,
        lifetime=timedelta(days=365),
    ).sign(root_key, hashes.SHA256())
    return Authorities(root_key, root, issuing_key, issuing)
