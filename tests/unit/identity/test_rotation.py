"""When certificates are renewed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.identity.conftest import NOW, Authorities

from hauberk.identity.rotation import next_rotation
from hauberk.identity.svid import X509Svid
from hauberk.identity.trust_bundle import to_pem


@pytest.fixture(scope="module")
def svid(authorities: Authorities) -> X509Svid:
    return X509Svid.parse([to_pem(authorities.leaf(lifetime=timedelta(hours=24)))])


def test_a_certificate_is_renewed_at_half_its_life(svid: X509Svid) -> None:
    half = svid.not_before + (svid.not_after - svid.not_before) / 2
    assert next_rotation(svid, NOW, 0.0) == half


@pytest.mark.parametrize(("jitter", "share"), [(-1.0, 0.9), (1.0, 1.1), (0.5, 1.05), (7.0, 1.1)])
def test_jitter_moves_it_by_at_most_a_tenth(svid: X509Svid, jitter: float, share: float) -> None:
    half = (svid.not_after - svid.not_before) / 2
    assert abs(next_rotation(svid, NOW, jitter) - (svid.not_before + half * share)) < timedelta(milliseconds=1)


@given(st.floats(-1, 1), st.floats(0, 10**6))
def test_it_is_never_in_the_past(jitter: float, seconds: float) -> None:
    from hauberk.identity.spiffe_id import SpiffeId

    class Fixed(X509Svid):
        not_before = NOW  # no certificate has to be signed for each example
        not_after = NOW + timedelta(seconds=10)

    now = NOW + timedelta(seconds=seconds)
    assert next_rotation(Fixed(spiffe_id=SpiffeId("td", "/x"), chain=()), now, jitter) >= now


def test_a_certificate_of_seconds_is_renewed_while_it_lives(authorities: Authorities) -> None:
    svid = X509Svid.parse([to_pem(authorities.leaf(lifetime=timedelta(seconds=4)))])
    due = next_rotation(svid, NOW, 1.0)
    assert NOW < due < svid.not_after
