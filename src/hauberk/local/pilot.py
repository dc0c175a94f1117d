"""Pilot as the API sees it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hauberk.api.metadata import ObjectKey
from hauberk.api.problem import Problem
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.pilot.judgement import OpenConnection, UpgradedRequest, judge
from hauberk.pilot.pilot import Pilot
from hauberk.pilot.status import PushResult
from hauberk.sources.jwks import KeyRing
from hauberk.translate.outbound import translate_mesh, translate_routes
from hauberk.translate.proxy import translate_own
from hauberk.xds.resource import Resource

Resources = tuple[Resource, ...]


class ServedPilot:
    """Pilot's answers in the API's shapes."""

    def __init__(self, pilot: Pilot, keys: KeyRing, names: Callable[[], Sequence[str]] = tuple) -> None:
        """`names`: every trust domain that was ever the mesh's own."""
        self._pilot = pilot
        self._keys = keys
        self._names = names

    @property
    def ready(self) -> bool:
        """Whether proxies can be served."""
        return self._pilot.ready

    @property
    def problems(self) -> Sequence[Problem]:
        """What could not be translated, what proxies refused, and keys of issuers that cannot be had."""
        return (*self._pilot.problems, *self._keys.problems)

    @property
    def snapshot(self) -> MeshSnapshot | None:
        """The mesh as the proxies are told it; None before the first."""
        return self._pilot.snapshot

    async def wait(self, revision: int, timeout: float) -> PushResult:
        """Returns when every proxy that `revision` concerns has acknowledged it, or when `timeout` seconds are over.

        Keys that a new rule names are part of what proxies have to acknowledge: as long as they are being fetched, tokens are refused.
        """
        end = asyncio.get_running_loop().time() + timeout
        pushed = await self._pilot.wait(revision, timeout)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                if await self._keys.settled():
                    await self._pilot.keys_taken(timeout)
        return pushed

    def proxies(self) -> Sequence[dict[str, Any]]:
        """The proxies as `status -o json` shows them; what their agents know is added by who asks both."""
        return [status.to_json() for status in self._pilot.status()]

    def judge(self, pod: ObjectKey, connections: Sequence[dict[str, Any]]) -> Sequence[bool] | None:
        """For each of the open `connections` to `pod` whether it may go on; None while there is no policy to go by."""
        snapshot = self._pilot.snapshot
        return None if snapshot is None else judge(snapshot, pod, [_open_connection(**each) for each in connections], self._names())


def _open_connection(
    *, identity: str, address: str, destination: str, port: int, server_name: str, request: dict[str, str] | None
) -> OpenConnection:
    return OpenConnection(
        identity=identity or None,
        address=address,
        destination=destination,
        port=port,
        server_name=server_name,
        request=UpgradedRequest(**request) if request is not None else None,
    )


class SidecarTranslator:
    """The translation of `translate`, layer by layer."""

    def mesh(self, snapshot: MeshSnapshot) -> Resources:
        """What every proxy of the mesh is told alike."""
        return translate_mesh(snapshot)

    def namespace(self, snapshot: MeshSnapshot, namespace: str) -> Resources:
        """What every proxy of one namespace is told besides."""
        return translate_routes(snapshot, namespace)

    def pod(self, snapshot: MeshSnapshot, pod: ObjectKey) -> Resources:
        """What only the sidecar of `pod` is told; empty if it has none."""
        return translate_own(snapshot, pod)
