"""Whom an agent takes for its control plane."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.unit.citadel.rig import issue, opened

from hauberk.citadel.attestation import Attested
from hauberk.citadel.authority import Citadel
from hauberk.citadel.nodes import control_plane_id
from hauberk.identity.svid import X509Svid
from hauberk.kit.tls import PeerRefused
from hauberk.local.remote_way import Way

ADDRESS = ("192.0.2.1", 7443)


async def control_plane(citadel: Citadel) -> X509Svid:
    attested = Attested(spiffe_id=control_plane_id("cluster.local"), holder="control-plane", node="here")
    issued = await citadel.issuer.issue_to(attested, ec.generate_private_key(ec.SECP256R1()).public_key(), by="control-plane")
    return X509Svid.from_der(issued.chain_der)


async def test_only_the_control_plane_itself_is_believed_and_not_by_a_certificate_that_was_revoked(tmp_path: Path) -> None:
    revoked = set[str]()
    way = Way("cluster.local", lambda: (ADDRESS,), lambda: None, tuple, tmp_path, is_revoked=revoked.__contains__)

    def check(svid: X509Svid) -> None:
        way._check(svid.leaf.public_bytes(Encoding.DER), ADDRESS)

    with opened(tmp_path) as citadel:
        right, other = await control_plane(citadel), await issue(citadel)
        check(right)
        with pytest.raises(PeerRefused, match="is not the control plane but spiffe"):
            check(other)
        revoked.add(right.serial)
        with pytest.raises(PeerRefused, match="which was revoked"):
            check(right)
