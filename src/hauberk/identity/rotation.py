"""When to change a certificate, and what to say when it cannot be changed. Pure: time and chance come in by the door."""

from datetime import datetime, timedelta
from enum import Enum

from hauberk.identity.svid import X509Svid
from hauberk.identity.template import BACKDATE

JITTER_SHARE = 0.1  # of the half life: certificates issued together must not be renewed together
ALARM_SHARE = 2 / 3  # of the life: it should have been renewed at half, and there is still a third to do something about it
# All that renew together do so in a window; so wide that they come at this rate, at least a second, at most what a person waits.
RENEWALS_PER_SECOND = 50
LEAST_WINDOW, LONGEST_WINDOW = timedelta(seconds=1), timedelta(seconds=90)


class Phase(Enum):
    """How far a certificate's life has gone."""

    EARLY = "not valid yet"
    GOOD = "good"
    ALARMING = "should have been renewed"
    ENDED = "has ended"


def next_rotation(svid: X509Svid, now: datetime, jitter: float) -> datetime:
    """When `svid` is to be renewed: at half its life ± 10 %, `jitter` in -1…1 choosing where; never before `now`."""
    half = (svid.not_after - svid.not_before) / 2
    return max(now, svid.not_before + half * (1 + JITTER_SHARE * max(-1.0, min(1.0, jitter))))


def time_left(svid: X509Svid, due: datetime, now: datetime) -> timedelta:
    """How long `svid` may go on being used when it is to be renewed at `due`; nothing if it is not valid at all.

    Not valid yet is as bad as not valid any more: the clock was set back since it was issued, and peers refuse it.
    """
    return max(due - now, timedelta()) if svid.not_before <= now < svid.not_after else timedelta()


def is_sooner(new: X509Svid, held: X509Svid, now: datetime) -> bool:
    """Whether `new` is valid before `held` is: one that is not valid yet must not push aside one that is, or that will be sooner."""
    return new.not_before <= now or new.not_before < held.not_before or held.not_after <= now


def alarm_at(svid: X509Svid) -> datetime:
    """When it is an alarm that `svid` has not been renewed."""
    return svid.not_before + (svid.not_after - svid.not_before) * ALARM_SHARE


def phase_of(svid: X509Svid, now: datetime) -> Phase:
    """How far the life of `svid` has gone at `now`."""
    if now < svid.not_before:
        return Phase.EARLY
    if now < alarm_at(svid):
        return Phase.GOOD
    return Phase.ALARMING if now < svid.not_after else Phase.ENDED


def next_phase(svid: X509Svid, now: datetime) -> timedelta | None:
    """How long until `phase_of` says something else; None if it never will."""
    return min((moment - now for moment in (svid.not_before, alarm_at(svid), svid.not_after) if moment > now), default=None)


def renewal_window(holders: int) -> timedelta:
    """Over how long `holders` certificates that are all to be renewed are spread."""
    return min(max(timedelta(seconds=holders / RENEWALS_PER_SECOND), LEAST_WINDOW), LONGEST_WINDOW)


def explain(svid: X509Svid | None, reason: str, now: datetime) -> str:
    """What `reason`, for which there is no newer certificate than `svid`, means for who holds it; empty if there is no reason."""
    if not reason or svid is None:
        return reason
    match phase_of(svid, now):
        case Phase.ENDED:
            return f"its certificate ended at {svid.not_after:%Y-%m-%d %H:%M:%S} UTC, so its peers refuse it: {reason}"
        case Phase.ALARMING:
            return f"its certificate ends at {svid.not_after:%Y-%m-%d %H:%M:%S} UTC and is not renewed: {reason}"
        case Phase.GOOD | Phase.EARLY:
            return reason


def clock_difference(svid: X509Svid, now: datetime) -> timedelta:
    """How far the clock of who has just signed `svid` is ahead of `now`, to a second; negative if it is behind."""
    return svid.not_before + tolerance(svid) - now


def tolerance(svid: X509Svid) -> timedelta:
    """How far two clocks may differ for `svid` to be of use everywhere at once: what it was back-dated by."""
    return min(BACKDATE, (svid.not_after - svid.not_before) / 11)  # a tenth of the life that was asked for, which makes eleven parts
