"""Revocations as the API asks for them: the store knows the pods by name, the authority knows everything else."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from hauberk.api.pod import Pod
from hauberk.citadel.revocation import NotRevoked, Revocation, Revocations, Target
from hauberk.citadel.state_issued import IssuedRow
from hauberk.citadel.state_revocations import RevocationRow, What
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.sources.store import Store

_SERIAL: Final = re.compile(r"[0-9a-f]{32}")
_OWN_PATHS: Final = "/hauberk/"  # of the mesh's own parts
_LEAST_SECONDS: Final = 0.05  # between two looks, however many report
_MOST_SECONDS: Final = 1.0  # certificates also end by themselves

# Who has not confirmed to hold the Trust of that sequence, as people name them.
Missing = Callable[[int], tuple[str, ...]]


class StoreRevoker:
    """`Revoker` of the API."""

    def __init__(
        self,
        store: Store,
        revocations: Revocations,
        *,
        missing: Missing = lambda _sequence: (),
        names: Callable[[], Sequence[str]] = tuple,
        reported: asyncio.Event | None = None,
    ) -> None:
        self._names = names  # of the mesh's own trust domain, while it is renamed
        self._store = store
        self._revocations = revocations
        self._missing = missing
        self._reported = reported or asyncio.Event()  # set when `missing` may have changed, and cleared by whoever sets it

    async def revoke(self, *, pod: str, serial: str, identity: str, reason: str, by: str, wait: float) -> Mapping[str, Any]:
        """It is revoked; see `Revoker`."""
        target = self._living_pod(pod) if _only(pod, serial, identity) == pod else _target(serial, identity)
        for same in self._same(target):
            await self._revocations.revoke(same, by=by, reason=reason)
        return await self._answer(await self._revocations.revoke(target, by=by, reason=reason), wait)

    async def undo(self, *, pod: str, serial: str, identity: str, by: str, wait: float) -> Mapping[str, Any]:
        """It is not revoked any more. A pod that has ended meanwhile is meant by its name, and the one that has it now."""
        if _only(pod, serial, identity) != pod:
            target = _target(serial, identity)
            answered = await self._revocations.undo(target, by=by)
            for same in self._same(target):
                with suppress(NotRevoked):
                    answered = await self._revocations.undo(same, by=by)
            return await self._answer(answered, wait)
        of_name = [row for row in self._revocations.all if row.what is What.POD and row.name == pod]
        if not of_name:
            raise NotRevoked(f"pod {pod} is not revoked")
        undone = [await self._revocations.undo(Target(what=What.POD, value=row.value, name=pod), by=by) for row in of_name]
        return await self._answer(undone[-1], wait)

    def revocations(self) -> Mapping[str, Any]:
        """All that is revoked."""
        return {"items": [_row(row) for row in self._revocations.all]}

    async def _answer(self, revocation: Revocation, wait: float) -> dict[str, Any]:
        """The document, when every proxy has confirmed, or `wait` seconds are over; `pending` names those that have not.

        `problem`: what is amiss with the lists that proxies are given.
        """
        document, deadline = document_of(revocation), time.monotonic() + wait
        while (missing := self._missing(revocation.sequence)) and (left := deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._reported.wait(), min(left, _MOST_SECONDS))
            await asyncio.sleep(_LEAST_SECONDS)
        return {**document, "pending": list(missing), "problem": self._revocations.problem}

    def _same(self, target: Target) -> tuple[Target, ...]:
        """Whom `target` means besides: an identity is the same one under each name of the mesh."""
        if target.what is not What.IDENTITY:
            return ()
        identity, names = SpiffeId.parse(target.value), self._names()
        others = [str(SpiffeId(name, identity.path)) for name in names if name != identity.trust_domain]
        return tuple(Target(what=What.IDENTITY, value=each, name=each) for each in others) if identity.trust_domain in names else ()

    def _living_pod(self, name: str) -> Target:
        namespace, slash, bare = name.partition("/")
        if not slash:
            raise ValueError(f"{name!r} is no pod: it is named namespace/name")
        found = self._store.find(Pod, namespace, bare)
        if found is None:
            raise LookupError(f"there is no pod {name}; what it held can be revoked by serial or by identity")
        return Target(what=What.POD, value=found.metadata.uid, name=name)


def document_of(revocation: Revocation) -> dict[str, Any]:
    """A revocation and what it came to, as the API says it."""
    certificates = [_certificate(each) for each in revocation.certificates]
    return {"revocation": _row(revocation.row), "certificates": certificates, "trustSequence": revocation.sequence}


def _only(*given: str) -> str:
    """The one of them that is not empty."""
    found = [each for each in given if each]
    if len(found) != 1:
        raise ValueError("one thing is revoked at a time: a pod, a serial or an identity")
    return found[0]


def _target(serial: str, identity: str) -> Target:
    if serial:
        if not _SERIAL.fullmatch(serial):
            raise ValueError(f"{serial[:80]!r} is no serial: it has 32 hexadecimal digits in small letters")
        return Target(what=What.SERIAL, value=serial, name=serial)
    spiffe_id = SpiffeId.parse(identity)
    if not spiffe_id.is_workload:
        raise ValueError(f"{identity} is a whole trust domain, not an identity in it")
    if spiffe_id.path.startswith(_OWN_PATHS):
        raise ValueError(f"{identity} is a part of the mesh itself: a machine is shut out by banning it (`hauberk ca nodes ban`)")
    return Target(what=What.IDENTITY, value=str(spiffe_id), name=str(spiffe_id))


def _row(row: RevocationRow) -> dict[str, Any]:
    document: dict[str, Any] = {"what": row.what.value, "value": row.value, "name": row.name}
    document |= {"at": row.at.isoformat(timespec="seconds"), "by": row.by, "reason": row.reason}
    return document if row.until is None else {**document, "until": row.until.isoformat(timespec="seconds")}


def _certificate(row: IssuedRow) -> dict[str, Any]:
    return {
        "serial": row.serial,
        "spiffeId": row.spiffe_id,
        "holder": row.holder,
        "node": row.node,
        "notAfter": row.not_after.isoformat(timespec="seconds"),
    }
