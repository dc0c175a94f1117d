"""Selectors of entries: what must be true of a process for it to be given an identity. Pure: who finds it out is `linux.evidence`.

Evidence and selectors are texts by kind, in one form each, so that comparing is all there is to do.
"""

from collections.abc import Mapping
from typing import Final

UID: Final = "uid"
GID: Final = "gid"
PATH: Final = "path"
SHA256: Final = "sha256"
CGROUP: Final = "cgroup"
KINDS: Final = (UID, GID, PATH, SHA256, CGROUP)

Selectors = Mapping[str, str]
Evidence = Mapping[str, str]


def unmet(selectors: Selectors, evidence: Evidence) -> tuple[str, ...]:
    """The kinds of `selectors` that `evidence` does not bear out; those that are unknown here never hold.

    An entry without selectors would be anybody's, so it holds for nobody.
    """
    if not selectors:
        return KINDS
    return tuple(kind for kind, wanted in selectors.items() if not _holds(kind, wanted, evidence.get(kind, "")))


def _holds(kind: str, wanted: str, found: str) -> bool:
    if kind not in KINDS or not wanted or not found:
        return False
    # A service manager may give parts of a service control groups below the service's own.
    return found == wanted or (kind == CGROUP and found.startswith(wanted.rstrip("/") + "/"))
