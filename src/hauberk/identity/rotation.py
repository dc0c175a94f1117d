"""When to change a certificate. Pure: time and chance come in by the door."""

from datetime import datetime, timedelta

from hauberk.identity.svid import X509Svid

JITTER_SHARE = 0.1  # of the half life: certificates issued together must not be renewed together


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
