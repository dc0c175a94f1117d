"""Keys of issuers on disk, so that a control plane that starts again refuses nobody whose issuer is just not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hauberk.kit.clock import parse_timestamp
from hauberk.kit.log import logger
from hauberk.mesh.issuer_keys import KeySource
from hauberk.mesh.jwks import InvalidJwks, usable_keys

_log = logger("jwks")


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """Keys as they were fetched at `fetched`."""

    source: KeySource
    jwks: str
    fetched: datetime


class JwksCache:
    """One small file; written anew as a whole, so that a crash leaves the old one or the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mapping[KeySource, KeptKeys]:
        """What was kept; nothing if the file is not to be used."""
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            found = [_row(each) for each in rows]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, InvalidJwks, RecursionError):
            _log.warning("the kept keys of issuers cannot be read; all are fetched anew", path=str(self._path))
            return {}
        return {each.source: each for each in found}

    def write(self, kept: Iterable[KeptKeys]) -> None:
        """`kept` and nothing else is kept. That it cannot be written is no reason to stop: it is fetched again."""
        rows = [_document(each) for each in sorted(kept, key=lambda row: row.source)]
        unfinished = self._path.with_suffix(".new")
        try:
            with open(unfinished, "w", encoding="utf-8", opener=_private) as file:
                json.dump(rows, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
        except OSError as exc:
            _log.warning("the keys of issuers cannot be kept", path=str(self._path), reason=exc.strerror or str(exc))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _row(document: Mapping[str, Any]) -> KeptKeys:
    source = KeySource(str(document["uri"]), str(document["issuer"]))
    # Read as strictly as from the network: what this version would not take from there it does not take from here.
    return KeptKeys(source, usable_keys(str(document["jwks"])).text, parse_timestamp(document["fetched"]))


def _document(kept: KeptKeys) -> dict[str, str]:
    source = kept.source
    return {"uri": source.uri, "issuer": source.issuer, "jwks": kept.jwks, "fetched": kept.fetched.isoformat()}
