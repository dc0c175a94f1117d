"""ConfigMaps that programs' variables refer to, remembered for when the control plane is away."""

import json
from pathlib import Path
from urllib.parse import quote

from hauberk.agent.environment import ReferenceBroken
from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable

_NOT_FOUND = 404


class ConfigMapReader:
    """Reads from the control plane; from the copy of the last reading if that does not answer."""

    def __init__(self, api: AsyncUnixHttp, cache: Path) -> None:
        self._api = api
        self._cache = cache
        self._known: dict[str, dict[str, str] | None] = {}
        self._load()

    async def read(self, namespace: str, names: frozenset[str]) -> dict[str, dict[str, str] | None]:
        """The contents by name; None for one that does not exist. ReferenceBroken if neither now nor ever before could it be read."""
        return {name: await self._read_one(namespace, name) for name in sorted(names)}

    async def _read_one(self, namespace: str, name: str) -> dict[str, str] | None:
        key = f"{namespace}/{name}"
        try:
            code, answer = await self._api.request("GET", f"/v1/objects/configmaps/{quote(namespace)}/{quote(name)}")
        except NotReachable as exc:
            code, answer = 0, str(exc)
        if code == 200:
            self._learn(key, dict(answer.get("data", {})))
        elif code == _NOT_FOUND:
            self._learn(key, None)
        elif key not in self._known:
            raise ReferenceBroken(f"ConfigMap {key} cannot be read now: {answer}")
        return self._known[key]

    def _learn(self, key: str, content: dict[str, str] | None) -> None:
        if key in self._known and self._known[key] == content:
            return
        self._known[key] = content
        new = self._cache.with_suffix(".new")
        new.write_text(json.dumps(self._known))
        new.replace(self._cache)

    def _load(self) -> None:
        self._cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._known = dict(json.loads(self._cache.read_text()))
        except (OSError, ValueError, TypeError):
            self._known = {}
