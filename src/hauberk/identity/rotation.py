"""When to change a certificate. Pure: time and chance come in by the door."""

from datetime import datetime

from hauberk.identity.svid import X509Svid

JITTER_SHARE = 0.1  # of the half life: certificates issued together must not be renewed together


def next_rotation(svid: X509Svid, now: datetime, jitter: float) -> datetime:
    """When `svid` is to be renewed: at half its life ± 10 %, `jitter` in -1…1 choosing where; never before `now`."""
    half = (svid.not_after - svid.not_before) / 2
    return max(now, svid.not_before + half * (1 + JITTER_SHARE * max(-1.0, min(1.0, jitter))))
