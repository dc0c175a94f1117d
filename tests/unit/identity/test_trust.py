"""The Trust travels whole, and is the same bytes whenever it is the same."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.identity.conftest import Authorities

from hauberk.identity.trust import ForeignBundle, JwtKey, Revoked, Trust
from hauberk.identity.wire import InvalidMessage


@pytest.fixture
def trust(authorities: Authorities) -> Trust:
    key = JwtKey(key_id="k", jwk='{"kid":"k"}')
    return Trust(
        sequence=1 << 40,
        trust_domain="cluster.local",
        x509_authorities=(authorities.root,),
        jwt_keys=(key,),
        crls=(b"crl",),
        revoked=Revoked(serials=frozenset({"01", "02"}), identities=frozenset({"spiffe://td/x"}), pods=frozenset({"u"})),
        federated=(
            ForeignBundle(
                trust_domain="other.org",
                x509_authorities=(authorities.root,),
                jwt_keys=(key,),
                sequence=3,
                refresh_hint=timedelta(seconds=60),
            ),
        ),
        renew=frozenset({"issuing-1", "issuing-2"}),
        renewal_window=timedelta(seconds=64),
    )


def test_it_comes_out_as_it_went_in(trust: Trust) -> None:
    assert Trust.from_wire(trust.to_wire()) == trust


def test_the_same_trust_is_the_same_bytes(trust: Trust) -> None:
    again = replace(trust, renew=frozenset(sorted(trust.renew, reverse=True)))
    assert again.to_wire() == trust.to_wire()


def test_its_bundle_is_our_own_domains_only(trust: Trust) -> None:
    assert trust.bundle.trust_domain == "cluster.local"
    assert trust.bundle.authorities == trust.x509_authorities


def test_what_is_no_trust_is_refused(trust: Trust) -> None:
    broken = trust.to_wire().replace(b"\x30\x82", b"\x31\x82", 1)
    for data in (b"\xff\xff", broken):
        with pytest.raises(InvalidMessage):
            Trust.from_wire(data)
