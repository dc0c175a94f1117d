"""Becoming an intermediate of somebody else's authority, and following its files afterwards.

Under another root the import is an exchange of the root: the new one is trusted everywhere before anything below it signs. Under the
root that is active already it is a new issuing key, which may sign at once. Either way the key is copied into the key store, in the
form and place that are set, so the files may be removed afterwards; as long as they are there, a change of them is taken over.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hauberk.citadel import slots
from hauberk.citadel.authorities import NoIssuer, certificate_of
from hauberk.citadel.authority import Citadel
from hauberk.citadel.exchange import ExchangeRefused
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.plugged_ca import CaRefused, Given, PluggedCa, read_plugged_ca
from hauberk.citadel.plugged_files import Mark, PluggedFiles, digest
from hauberk.citadel.state import StateUnusable
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot
from hauberk.citadel.state_imported import ImportedRow, read_imported, write_imported
from hauberk.identity.event import Event, EventKind, Evidence
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.log import logger

POLL_SECONDS: Final = 2.0
_FOLLOWER = "citadel: the files have changed"
_log = logger("citadel")


class Result(StrEnum):
    """What an import came to."""

    UNCHANGED = "unchanged"  # it signs already
    ACTIVE = "active"  # it signs now, under the root that is trusted already
    ROTATING = "rotating"  # its root is being distributed; it signs when that is proven
    SOUND = "sound"  # it was only checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """An authority that has been taken, or could be."""

    result: Result
    authority: str
    found: PluggedCa = field(repr=False)


class PluggedImport:
    """At most one at a time; `follow` must run for changes of the files to be noticed."""

    def __init__(self, citadel: Citadel, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._citadel = citadel
        self._poll_seconds = poll_seconds
        self._taking = asyncio.Lock()
        self.row: ImportedRow | None = read_imported(citadel.ground.state)
        self._settled: Mark | None = None  # this state of the files is dealt with
        self._seen: Mark | None = None
        self.problem = ""  # why a change of the files was not taken over; the last good authority goes on signing
        citadel.concerns.append(self._concerns)

    @property
    def followed(self) -> PluggedFiles | None:
        """The files whose changes are taken over: of the authority that signs, or is about to; of a former one they mean nothing."""
        row = self.row
        issuing = self._citadel.authorities.find(row.authority) if row else None
        root = self._citadel.authorities.find(issuing.parent) if issuing else None
        if row is None or root is None or root.slot not in (Slot.PREPARED, Slot.ACTIVE):
            return None
        return PluggedFiles.from_json(row.files)

    def _concerns(self) -> Iterator[str]:
        """What people should know: a change that could not be taken over, and an authority that nobody but its issuer can renew."""
        if self.followed is not None and self.problem:
            yield f"the files of the imported authority have changed and cannot be taken over: {self.problem}"
        issuing = slots.active(self._citadel.authorities.rows, Kind.ISSUING)
        if issuing is None or self._citadel.authorities.has_key(issuing.parent):
            return
        certificate, now = certificate_of(issuing), self._citadel.ground.clock.now()
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now >= begin + (end - begin) / 2:
            yield f"{issuing.id} ends at {end:%Y-%m-%d %H:%M} UTC and cannot be renewed here: import its successor (`hauberk ca import`)"

    async def check(self, files: PluggedFiles) -> Imported:
        """Whether `files` could be taken; raises CaRefused."""
        found, _ = await self._read(files)
        return Imported(result=Result.SOUND, authority=_issuing_id(found), found=found)

    async def take(self, files: PluggedFiles, by: str) -> Imported:
        """The authority in `files` signs, or will when its root is trusted everywhere; its files are followed from now on.

        Raises CaRefused, ExchangeRefused, KeyUnreadable, StateUnusable; then nothing has changed.
        """
        async with self._taking:
            try:
                found, content = await self._read(files)
                now = self._citadel.ground.clock.now()
                row = ImportedRow(files=files.to_json(), digest=content, authority=_issuing_id(found), taken=now, by=by)
                result = await self._install(found, row)
            except (CaRefused, ExchangeRefused, KeyUnreadable) as exc:
                await self._audit(str(files.certificates), f"refused: {exc}", by, files)
                raise
            self.row, self._settled, self.problem = row, files.mark(), ""
            await self._audit(row.authority, result.value, by, files, found)
            _log.info("authority imported", id=row.authority, result=result.value, by=by)
            return Imported(result=result, authority=row.authority, found=found)

    async def follow(self) -> NoReturn:
        """Takes changes of the files over until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._poll_seconds)

    async def look(self) -> None:
        """A change of the files that has come to rest is taken over, or `problem` says why not."""
        files = self.followed
        mark = files.mark() if files else None
        # Files are replaced one after another: only what two looks have seen alike is read.
        if files is None or mark is None or mark == self._settled or mark != self._seen:
            self._seen = mark
            return
        try:
            _, content = await self._read(files)
            if self.row is None or content != self.row.digest:
                await self.take(files, _FOLLOWER)
            self._settled, self.problem = mark, ""
        except (CaRefused, ExchangeRefused, KeyUnreadable, NoIssuer, StateUnusable, OSError) as exc:
            if str(exc) != self.problem:
                _log.error("the files of the imported authority cannot be taken over; the last good one goes on", reason=str(exc))
            self.problem = str(exc)

    async def _read(self, files: PluggedFiles) -> tuple[PluggedCa, str]:
        now = self._citadel.ground.clock.now()
        lifetime = self._citadel.settings.certificate_lifetime

        def work() -> tuple[PluggedCa, str]:
            given: Given = files.read()
            return read_plugged_ca(given, trust_domain=self._citadel.trust_domain, now=now, leaf_lifetime=lifetime), digest(given)

        return await asyncio.to_thread(work)

    async def _install(self, found: PluggedCa, row: ImportedRow) -> Result:
        """What signs, and that its files (in `row`) are followed, is one transaction: else a crash between would end the following."""
        authorities, now = self._citadel.authorities, row.taken
        issuing = slots.active(authorities.rows, Kind.ISSUING)
        identifier, following = row.authority, write_imported(row)
        if issuing is not None and issuing.id == identifier and authorities.has_key(identifier):
            await self._citadel.ground.state.write(following)
            return Result.UNCHANGED
        if self._citadel.exchange.going_on:
            raise ExchangeRefused(
                "an exchange of the root is going on already: wait for it, or abort it (`hauberk ca rotate --root --abort`)"
            )
        root, own = _rows(found, now)
        active = slots.active(authorities.rows, Kind.ROOT)
        await asyncio.to_thread(self._keep_key, identifier, found)
        if active is not None and certificate_of(active) == found.root:
            at_once = await self._citadel.succession.succeed_with(replace(own, parent=active.id), now, following)
            return Result.ACTIVE if at_once else Result.ROTATING
        try:
            await self._citadel.exchange.begin_with((root, own), row.by, following)
        except BaseException:
            # Not of one that is known by now: the caller gave up, and the exchange has begun.
            if authorities.find(identifier) is None:
                await asyncio.to_thread(self._citadel.ground.keys.destroy, identifier)
            raise
        return Result.ROTATING

    def _keep_key(self, identifier: str, found: PluggedCa) -> None:
        keys = self._citadel.ground.keys
        try:
            keys.adopt(identifier, found.key)
        except FileExistsError:
            # The id is that of the certificate, and the certificate names the key: what a crash left is the same one.
            keys.open(identifier)

    async def _audit(self, subject: str, outcome: str, by: str, files: PluggedFiles, found: PluggedCa | None = None) -> None:
        ground = self._citadel.ground
        evidence: dict[str, Evidence] = {"files": tuple(str(path) for path in files.paths)}
        if found is not None:
            evidence |= {"fingerprint": _fingerprint(found.certificate), "rootFingerprint": _fingerprint(found.root)}
        kind = EventKind.AUTHORITY_IMPORTED
        await ground.audit(Event(time=ground.clock.now(), kind=kind, subject=subject, outcome=outcome, by=by, evidence=evidence))


def _rows(found: PluggedCa, now: datetime) -> tuple[AuthorityRow, AuthorityRow]:
    root_id = f"root-{_fingerprint(found.root)[:12]}"
    root = AuthorityRow(id=root_id, kind=Kind.ROOT, slot=Slot.PREPARED, public=to_pem(found.root), created=now)
    chain = "".join(to_pem(each) for each in found.chain)
    own = AuthorityRow(id=_issuing_id(found), kind=Kind.ISSUING, slot=Slot.PREPARED, public=chain, parent=root_id, created=now)
    return root, own


def _issuing_id(found: PluggedCa) -> str:
    """Of the certificate, so that the same one is never two authorities."""
    return f"issuing-{_fingerprint(found.certificate)[:12]}"


def _fingerprint(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
