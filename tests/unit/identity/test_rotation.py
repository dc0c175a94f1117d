"""When certificates are renewed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.identity.conftest import NOW, Authorities

from hauberk.identity.rotation import is_sooner, next_rotation, time_left
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


@pytest.mark.parametrize(
    ("hours", "left"),
    [(0, 3.0), (2, 1.0), (3, 0.0), (5, 0.0), (25, 0.0), (-2, 0.0)],
    ids=["fresh", "in use", "due", "overdue", "expired", "not valid yet"],
)
def test_a_certificate_is_used_until_it_is_due_and_never_while_it_is_not_valid(svid: X509Svid, hours: float, left: float) -> None:
    assert time_left(svid, NOW + timedelta(hours=3), NOW + timedelta(hours=hours)) == timedelta(hours=left)


def test_what_is_valid_sooner_is_preferred(authorities: Authorities, svid: X509Svid) -> None:
    later = X509Svid.parse([to_pem(authorities.leaf(now=NOW + timedelta(hours=2)))])
    assert is_sooner(later, svid, NOW + timedelta(hours=2))  # an ordinary renewal
    assert not is_sooner(later, svid, NOW)
    assert not is_sooner(later, svid, NOW - timedelta(hours=9))
    assert is_sooner(svid, later, NOW - timedelta(hours=9))
