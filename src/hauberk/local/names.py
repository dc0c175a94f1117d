"""The table of names for the agents' DNS, made from Services and, for headless ones, their pods."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from hauberk.api.metadata import ObjectKey
from hauberk.api.pod import Pod
from hauberk.api.service import Service
from hauberk.mesh.endpoints import Selection
from hauberk.mesh.names import NameEntry, build_name
from hauberk.mesh.reuse import Reuse
from hauberk.mesh.service import MeshService, build_service
from hauberk.mesh.workload import Workload, build_workload
from hauberk.sources.store import Store

CLUSTER_DOMAIN = "cluster.local"


class NamesTable:
    """Names as of the store's present revision; what did not change is not made again.

    It does not wait for pilot: a name that resolves a moment before every proxy knows the service does no harm, while one that
    waits for a slow push does.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reuse = Reuse()

    def table(self) -> dict[str, Any]:
        """The table as the agents read it."""
        return {"revision": str(self._store.revision), "services": self._services()}

    async def tables(self) -> AsyncIterator[dict[str, Any]]:
        """The table, and again whenever it says something else."""
        told: Mapping[str, Any] | None = None
        async for _ in self._store.subscribe(("Service", "Pod")):
            table = self.table()
            if table["services"] != told:
                told = table["services"]
                yield table

    def _services(self) -> dict[str, Any]:
        services = self._reuse.each(build_service, {each.key: (each,) for each in self._store.of(Service)}, CLUSTER_DOMAIN)
        selected = self._selected([each for each in services.values() if each.headless])
        names = self._reuse.each(build_name, {key: (each, *selected.get(key, ())) for key, each in services.items()})
        return {f"{key.name}.{key.namespace}": described(entry) for key, entry in names.items()}

    def _selected(self, headless: list[MeshService]) -> dict[ObjectKey, tuple[Workload, ...]]:
        if not headless:
            return {}
        workloads = self._reuse.each(build_workload, {pod.key: (pod,) for pod in self._store.of(Pod)})
        by_namespace: dict[str, list[Workload]] = {}
        for workload in workloads.values():
            by_namespace.setdefault(workload.namespace, []).append(workload)
        selections = {namespace: Selection(found) for namespace, found in by_namespace.items()}
        return {each.key: selections[each.key.namespace].of(each.selector) for each in headless if each.key.namespace in selections}


def described(entry: NameEntry) -> dict[str, Any]:
    """One name of the table."""
    endpoints = [{"hostname": each.hostname, "addresses": list(each.addresses)} for each in entry.endpoints]
    return {"addresses": list(entry.addresses), "headless": entry.headless, "endpoints": endpoints}
