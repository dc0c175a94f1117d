"""The import of an authority as the API asks for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hauberk.apiserver.parts import ImportRefused
from hauberk.citadel.authorities import certificates_of
from hauberk.citadel.authority import Citadel
from hauberk.citadel.exchange import ExchangeRefused
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.plugged_ca import CaRefused, Fault
from hauberk.citadel.plugged_files import PluggedFiles, files_in
from hauberk.citadel.plugged_import import Imported, PluggedImport


class ServedImport:
    """`Importer` of the API."""

    def __init__(self, citadel: Citadel, plugged: PluggedImport) -> None:
        self._citadel = citadel
        self._plugged = plugged

    async def import_ca(self, files: Mapping[str, str], *, dry_run: bool, by: str) -> Mapping[str, Any]:
        """It signs, or will when its root is trusted everywhere; see `Importer`."""
        try:
            named = _files(files)
            done = await (self._plugged.check(named) if dry_run else self._plugged.take(named, by))
        except CaRefused as refused:
            raise ImportRefused(422, refused.faults) from refused
        except KeyUnreadable as unreadable:
            raise ImportRefused(422, [Fault(where="the key store", reason=unreadable.reason, remedy=unreadable.remedy)]) from unreadable
        except ExchangeRefused as refused:
            remedy = "see `hauberk ca show` for how far it has come"
            raise ImportRefused(409, [Fault(where="the authority", reason=str(refused), remedy=remedy)]) from refused
        return {**_document(done), "files": [str(path) for path in named.paths]}

    def imported(self) -> Mapping[str, Any]:
        """Which files are followed, and why a change of them was not taken over."""
        files, row = self._plugged.followed, self._plugged.row
        authority = self._citadel.authorities.find(row.authority) if row else None
        if files is None or row is None or authority is None:
            return {"authority": "", "files": []}
        own = certificates_of(authority)[0]
        return {
            "authority": row.authority,
            "slot": authority.slot.value,
            "subject": own.subject.rfc4514_string(),
            "notAfter": own.not_valid_after_utc.isoformat(),
            "files": [str(path) for path in files.paths],
            "taken": row.taken.isoformat(),
            "by": row.by,
            "problem": self._plugged.problem,
        }


def _files(named: Mapping[str, str]) -> PluggedFiles:
    paths = {role: Path(name) for role, name in named.items()}
    if directory := paths.get("directory"):
        return files_in(directory, paths.get("passphrase"))
    return PluggedFiles(certificates=paths["certificates"], key=paths["key"], roots=paths.get("roots"), passphrase=paths.get("passphrase"))


def _document(done: Imported) -> dict[str, Any]:
    found = done.found
    return {
        "result": done.result.value,
        "authority": done.authority,
        "subject": found.certificate.subject.rfc4514_string(),
        "notAfter": found.certificate.not_valid_after_utc.isoformat(),
        "chain": [each.subject.rfc4514_string() for each in found.chain],
        "root": found.root.subject.rfc4514_string(),
        "notes": list(found.notes),
    }
