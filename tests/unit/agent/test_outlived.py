"""The certificate an Envoy shows, read from what it says of its secrets."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.agent.outlived import read_certificate
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.trust_bundle import to_pem

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(trust_domain="td", public_key=KEY.public_key(), serial=1, now=START, lifetime=timedelta(days=9)).sign(
    KEY, hashes.SHA256()
)


def secret(serial: int, lifetime: timedelta) -> dict[str, Any]:
    leaf = build_leaf(
        spiffe_id=workload_id("td", "shop", "web"), public_key=KEY.public_key(), issuer=ROOT, serial=serial, now=START, lifetime=lifetime
    ).sign(KEY, hashes.SHA256())
    chain = base64.b64encode((to_pem(leaf) + to_pem(ROOT)).encode()).decode()
    tls = {"certificate_chain": {"inline_bytes": chain}, "private_key": {"inline_bytes": "W3JlZGFjdGVkXQ=="}}
    return {"name": "default", "secret": {"name": "default", "tls_certificate": tls}}


def test_of_several_the_one_that_ends_first_counts() -> None:
    roots = {"name": "ROOTCA", "secret": {"name": "ROOTCA", "validation_context": {}}}
    dump = {"configs": [secret(1, timedelta(hours=2)), roots, secret(2, timedelta(hours=1))]}
    found = read_certificate(json.dumps(dump).encode())
    assert found is not None
    assert (found.serial, len(found.chain)) == (f"{2:032x}", 2)


@pytest.mark.parametrize(
    "dump", [b"", b"{}", b"[]", b'{"configs": [{}]}', b'{"configs": []}', b'{"configs": [{"secret": {"tls_certificate": {}}}]}']
)
def test_what_says_nothing_of_a_certificate_is_none(dump: bytes) -> None:
    assert read_certificate(dump) is None
