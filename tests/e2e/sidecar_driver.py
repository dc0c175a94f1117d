"""An agent reduced to what the sidecars need: networks, rules, identities, relays, records. Runs inside the mesh, started by its launcher.

Only the mesh's own parts may connect to the launcher, so it is handed a connection in the place of its standard error.
Reads commands, one JSON document a line, and answers each with one. Killed and started again, it adopts what it finds, as the agent does.
"""

import asyncio
import json
import os
import socket
import sys
from collections import Counter
from functools import partial
from typing import Any

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from hauberk.agent.citadel_client import CitadelClient, local_channel
from hauberk.agent.ipam import AddressBook
from hauberk.agent.network import PodNetwork
from hauberk.agent.records import Records
from hauberk.agent.relay import Relay
from hauberk.agent.relay_cache import RelayCache
from hauberk.agent.settings import AgentSettings
from hauberk.agent.sidecar import PodRef, Sidecars, cache_path
from hauberk.agent.trust import MachineTrust
from hauberk.agent.trust_report import TrustFollower
from hauberk.interception.capture import read_capture
from hauberk.interception.install import install
from hauberk.interception.ruleset import build_ruleset
from hauberk.kit.clock import SystemClock
from hauberk.kit.log import configure_logging
from hauberk.kit.places import Places
from hauberk.kit.unix_http import AsyncUnixHttp
from hauberk.linux.launch import Launcher
from hauberk.linux.netns import in_network_async
from hauberk.telemetry.store import RecordQuery

PODS = ("server", "client")
START_SECONDS = 20.0
TOLD: Counter[str] = Counter()


def count_what_is_told() -> None:
    """Every resource that the control plane sends to a relay is counted by its name."""
    inner = Relay.on_response

    def counting(self: Relay, response: DeltaDiscoveryResponse) -> None:
        TOLD.update(resource.name for resource in response.resources)
        inner(self, response)

    Relay.on_response = counting  # type: ignore[method-assign] # the counting stands in front of it


class Driver:
    """The stand-in agent."""

    def __init__(self, launcher: Launcher, places: Places) -> None:
        self.launcher = launcher
        self.places = places
        self.api = AsyncUnixHttp(places.api_socket)
        self.records = Records(places.records)
        citadel, trust = CitadelClient(local_channel(places.citadel_socket)), MachineTrust(places.agent_state / "trust")
        self.sidecars = Sidecars(
            launcher=launcher, client=citadel, trust=trust, places=places, settings=AgentSettings(), records=self.records
        )
        self.follower = TrustFollower(
            citadel, trust, holders=lambda: self.sidecars.held, clock=SystemClock(), on_contact=self.sidecars.authority_is_back
        )
        self.pods: dict[str, PodRef] = {}

    async def start(self) -> None:
        """Both pods have their networks and their sidecars."""
        network = PodNetwork(await self.launcher.create_network("node"))
        await network.install_node()
        book = AddressBook(self.places.agent_state / "addresses.json")
        for name in PODS:
            pod = self._remembered(name) or await self._known(name)
            assigned = book.assign(pod.uid)
            descriptor = await self.launcher.create_network(pod.uid)
            await network.attach(pod.uid, descriptor, assigned)
            capture, _ = read_capture({}, network.nameservers)
            await in_network_async(descriptor, partial(install, build_ruleset(capture)))
            os.close(descriptor)
            self.pods[name] = await self._with_addresses(pod, network.addresses(assigned))
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.gather(*(self.sidecars.start(pod) for pod in self.pods.values()))
        except TimeoutError:
            raise AssertionError([self.sidecars.state(pod.uid) for pod in self.pods.values()]) from None

    def _remembered(self, name: str) -> PodRef | None:
        path = self.places.agent_state / f"{name}.json"
        return PodRef(**json.loads(path.read_text())) if path.exists() else None

    async def _known(self, name: str) -> PodRef:
        _, found = await self.api.request("GET", f"/v1/objects/pods/default/{name}")
        uid, account = found["metadata"]["uid"], found["spec"]["serviceAccountName"]
        return PodRef(uid=uid, namespace="default", name=name, service_account=account, network=uid)

    async def _with_addresses(self, pod: PodRef, addresses: tuple[str, ...]) -> PodRef:
        if pod.addresses:
            return PodRef(**{**self._document(pod), "addresses": addresses})
        ready = [{"type": "Ready", "status": "True"}]
        status = {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses], "conditions": ready}
        code, answer = await self.api.request("PATCH", f"/v1/objects/pods/default/{pod.name}/status", {"status": status})
        assert code == 200, answer
        known = PodRef(**{**self._document(pod), "addresses": addresses})
        (self.places.agent_state / f"{pod.name}.json").write_text(json.dumps(self._document(known)))
        return known

    def _document(self, pod: PodRef) -> dict[str, Any]:
        return {name: getattr(pod, name) for name in ("uid", "namespace", "name", "service_account", "network", "addresses", "node")}

    def _is_cached(self, uid: str) -> bool:
        """Whether what the pod's Envoy has accepted is on disk, for the next agent."""
        settled = self.sidecars._sidecars[uid]._relay.settled_resources
        kept = RelayCache(cache_path(self.places, uid)).read()
        return settled is not None and {(r.name, r.version) for r in settled} == {(r.name, r.version) for r in kept}

    async def do(self, command: dict[str, Any]) -> object:
        """The answer to `command`."""
        match command:
            case {"op": "state", "pod": str(name)}:
                state = self.sidecars.state(self.pods[name].uid)
                assert state is not None
                certificate = state.certificate
                return {
                    "ready": state.ready,
                    "restarts": state.restarts,
                    "control_plane": state.control_plane,
                    "serial": certificate.serial if certificate else None,
                    "spiffe_id": certificate.spiffe_id if certificate else None,
                    "rejected": [rejection.message for rejection in state.rejected],
                    "uid": self.pods[name].uid,
                    "addresses": self.pods[name].addresses,
                }
            case {"op": "records", "denied": bool(denied)}:
                await self.records.collect()
                return [record.to_document() for record in await self.records.query(RecordQuery(denied=denied, limit=100_000))]
            case {"op": "edges"}:
                return [[edge.source, edge.destination, edge.mtls, edge.rate] for edge in self.records.edges(60)]
            case {"op": "admin", "pod": str(name), "path": str(path)}:
                status, body = await self.sidecars.admin(self.pods[name].uid, "GET", path)
                return [status, body.decode()]
            case {"op": "cached"}:
                return all(self._is_cached(pod.uid) for pod in self.pods.values())
            case {"op": "told"}:
                return dict(TOLD)
            case {"op": "ready", "pod": str(name)}:
                await self.sidecars.start(self.pods[name])
                return True
            case {"op": "stop", "pod": str(name)}:
                await self.sidecars.stop(self.pods[name].uid)
                return True
            case _:
                raise AssertionError(command)


async def main() -> None:
    """Serves commands from standard input until it is closed."""
    places = Places()
    connection = socket.socket(fileno=os.dup(2))
    connection.setblocking(False)
    log = os.open(places.process_log("driver"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 2)
    configure_logging("driver")
    count_what_is_told()
    driver = Driver(Launcher(connection), places)
    working = [asyncio.create_task(part) for part in (driver.records.run(), driver.follower.run())]
    await driver.start()
    print(json.dumps("ready"), flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        print(json.dumps(await driver.do(json.loads(line))), flush=True)
    for task in working:
        task.cancel()
    await driver.sidecars.close()


if __name__ == "__main__":
    asyncio.run(main())
