"""Whom this machine believes: the newest Trust, in memory for whoever needs it and on disk for the agent that comes after this one.

All of it is public. On disk it is so that an agent that starts while there is no control plane believes whom its predecessor did.
"""

import asyncio
import os
from pathlib import Path

from hauberk.identity.trust import Trust
from hauberk.identity.wire import InvalidMessage
from hauberk.kit.digest import digest
from hauberk.kit.log import logger
from hauberk.kit.watched import Watched

_log = logger("trust")


class MachineTrust:
    """The machine's current Trust. `current` is what sidecars and the Workload API subscribe to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.current: Watched[Trust] = Watched(read_trust(path))
        self.kept = True  # whether the current one is on disk

    async def take(self, trust: Trust) -> bool:
        """`trust` is what this machine believes from now on; or it is nonsense and nothing has changed, then False."""
        if not trust.x509_authorities:
            # A domain without roots believes nobody, and Envoy would not even load it: no control plane of ours means that.
            _log.error("a trust without any root is ignored", sequence=trust.sequence)
            return False
        before = self.current.value
        if trust == before and self.kept:
            return True
        if before is not None and trust.sequence < before.sequence:
            _log.warning("the control plane went back: was it restored from a backup?", before=before.sequence, now=trust.sequence)
        try:
            # Before it is told to anybody: what an Envoy was told, the next agent must not have forgotten.
            await asyncio.to_thread(write_trust, self._path, trust)
            self.kept = True
        except OSError as exc:
            self.kept = False
            _log.error(
                "the trust cannot be kept: an agent that starts again needs the control plane", path=str(self._path), reason=str(exc)
            )
        self.current.set(trust)
        roots = len(trust.x509_authorities)
        _log.info("trust", sequence=trust.sequence, roots=roots, foreign=len(trust.federated), renew=sorted(trust.renew))
        return True


def read_trust(path: Path) -> Trust | None:
    """What was kept last; None if there is nothing or it is damaged, for the control plane has it."""
    try:
        check, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as exc:
        _log.warning("the trust that was kept cannot be read", path=str(path), reason=str(exc))
        return None
    try:
        # Without the check, a file that was cut off could still be a Trust, with fewer roots or fewer revocations.
        if check.decode(errors="replace") == digest(body):
            return Trust.from_wire(body)
    except InvalidMessage:
        pass
    _log.warning("a damaged trust is ignored", path=str(path))
    return None


def write_trust(path: Path, trust: Trust) -> None:
    """`trust` is kept; a crash in the middle leaves what was kept before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    body = trust.to_wire()
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(digest(body).encode() + b"\n" + body)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
