"""The time by which things are forgotten: leaps are not believed at once."""

from datetime import timedelta

from tests.unit.citadel.rig import NOW, HandClock

from hauberk.citadel.agreed_time import AgreedTime

MINUTE = timedelta(minutes=1)


def test_what_one_look_alone_has_seen_is_no_time_yet() -> None:
    clock = HandClock()
    agreed = AgreedTime(clock)
    assert agreed.look() is None
    clock.pass_by(MINUTE)
    assert agreed.look() == NOW + MINUTE


def test_a_leap_forward_counts_when_the_next_look_still_sees_it() -> None:
    clock = HandClock()
    agreed = AgreedTime(clock)
    agreed.look()
    clock.pass_by(MINUTE)
    clock.at += timedelta(days=3)
    assert agreed.look() == NOW + MINUTE
    clock.pass_by(MINUTE)
    assert agreed.look() == NOW + 2 * MINUTE + timedelta(days=3)


def test_a_clock_set_back_is_believed_at_once() -> None:
    clock = HandClock()
    agreed = AgreedTime(clock)
    agreed.look()
    clock.at -= timedelta(days=3)
    assert agreed.look() == NOW - timedelta(days=3)
