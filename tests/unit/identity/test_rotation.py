"""When certificates are renewed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.identity.conftest import NOW, Authorities

from hauberk.identity.rotation import (
    Phase,
    clock_difference,
    explain,
    is_sooner,
    next_phase,
    next_rotation,
    phase_of,
    renewal_window,
    time_left,
)
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


@pytest.mark.parametrize(
    ("hours", "phase", "following"),
    [
        (-1, Phase.EARLY, 1 - 1 / 60),
        (0, Phase.GOOD, None),
        (15.9, Phase.GOOD, None),
        (16.1, Phase.ALARMING, 7.9),
        (24, Phase.ENDED, None),
        (99, Phase.ENDED, None),
    ],
)
def test_a_life_has_its_phases_and_each_is_followed_by_the_next(
    svid: X509Svid, hours: float, phase: Phase, following: float | None
) -> None:
    now = NOW + timedelta(hours=hours)
    assert phase_of(svid, now) is phase
    left = next_phase(svid, now)
    if following is not None:
        assert left == timedelta(hours=following)
    assert (left is None) == (phase is Phase.ENDED)
    assert left is None or phase_of(svid, now + left) is not phase


@pytest.mark.parametrize(("holders", "seconds"), [(0, 1), (1, 1), (50, 1), (1000, 20), (10**6, 90)])
def test_the_more_renew_together_the_longer_they_take(holders: int, seconds: int) -> None:
    assert renewal_window(holders) == timedelta(seconds=seconds)


def test_what_a_failure_means_depends_on_how_old_the_certificate_is(svid: X509Svid) -> None:
    assert explain(None, "nobody answers", NOW) == "nobody answers"
    assert explain(svid, "", NOW) == ""
    said = [explain(svid, "nobody answers", NOW + timedelta(hours=hours)) for hours in (13, 17, 25)]
    assert said[0] == "nobody answers"
    assert "ends at" in said[1]
    assert "ended at" in said[2]
    assert all("nobody answers" in each for each in said)


@pytest.mark.parametrize("lifetime", [timedelta(seconds=30), timedelta(minutes=5), timedelta(minutes=11), timedelta(hours=24)])
@pytest.mark.parametrize("ahead", [timedelta(), timedelta(minutes=3), timedelta(days=-1)])
def test_the_issuers_clock_is_read_from_what_it_has_just_signed(authorities: Authorities, lifetime: timedelta, ahead: timedelta) -> None:
    signed = X509Svid.parse([to_pem(authorities.leaf(now=NOW, lifetime=lifetime))])
    assert abs(clock_difference(signed, NOW - ahead) - ahead) < timedelta(seconds=1.5)
