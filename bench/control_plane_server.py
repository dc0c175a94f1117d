"""A control plane by itself for bench/control_plane.py: a store full of services, pilot on loopback, and a way to change things.

GET or POST /endpoint?service=I&endpoint=J&address=A gives a pod another address; /policy?name=N&path=P denies a path in the namespace.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import tempfile
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.metadata import ApiObject, ObjectKey
from hauberk.api.pod import Pod
from hauberk.api.service import Service
from hauberk.kit.log import configure_logging
from hauberk.pilot.pilot import Pilot
from hauberk.sources.change import Put
from hauberk.sources.store import Store

NAMESPACE = "demo"


def pod_address(service: int, endpoint: int) -> str:
    return f"10.{128 + endpoint}.{service // 250}.{service % 250 + 1}"


def make_pod(service: int, endpoint: int, address: str) -> Pod:
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [{"type": "Ready", "status": "True"}]}
    containers = [{"name": "app", "command": ["app"], "ports": [{"name": "http", "containerPort": 8080}]}]
    metadata = {"name": f"svc-{service}-{endpoint}", "namespace": NAMESPACE, "labels": {"app": f"svc-{service}", "version": "v1"}}
    spec = {"serviceAccountName": f"sa-{service}", "containers": containers}
    return Pod.model_validate({"metadata": metadata, "spec": spec, "status": status})


def make_service(number: int) -> Service:
    spec = {
        "clusterIP": f"10.96.{number // 250}.{number % 250 + 1}",
        "selector": {"app": f"svc-{number}"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
    }
    return Service.model_validate({"metadata": {"name": f"svc-{number}", "namespace": NAMESPACE}, "spec": spec})


def make_policy(name: str, path: str) -> AuthorizationPolicy:
    rule = {"from": [{"source": {"principals": ["cluster.local/ns/demo/sa/evil"]}}], "to": [{"operation": {"paths": [path]}}]}
    return AuthorizationPolicy.model_validate(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"action": "DENY", "rules": [rule]},
        }
    )


class Trigger:
    """The HTTP door through which the load client makes changes."""

    def __init__(self, store: Store, pilot: Pilot) -> None:
        self._store = store
        self._pilot = pilot

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readline()).decode()
        while (await reader.readline()).strip():
            pass
        url = urlsplit(request.split()[1])
        body = json.dumps(await self.change(url.path, dict(parse_qsl(url.query)))).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async def change(self, path: str, query: dict[str, str]) -> dict[str, float]:
        if path == "/endpoint":
            pod = make_pod(int(query["service"]), int(query["endpoint"]), query["address"])
            known = self._store.get(ObjectKey("Pod", NAMESPACE, pod.metadata.name))
            assert known is not None
            await self._store.commit([Put(object=pod.model_copy(update={"metadata": known.metadata}))])
        elif path == "/policy":
            await self._store.commit([Put(object=make_policy(query["name"], query["path"]))])
        return self._pilot.counters.to_json()


async def serve(services: int, endpoints: int, address: str, trigger: int, translator: str) -> None:
    module, _, name = translator.partition(":")
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "objects.db")
        objects: list[ApiObject] = [make_service(number) for number in range(services)]
        objects += [make_pod(s, e, pod_address(s, e)) for s in range(services) for e in range(endpoints)]
        await store.commit([Put(object=each) for each in objects])
        del objects
        pilot = Pilot(store, getattr(importlib.import_module(module), name)())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pilot.run(address))
            server = await asyncio.start_server(Trigger(store, pilot).answer, "127.0.0.1", trigger)
            print("ready", flush=True)
            await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=5)
    parser.add_argument("--address", default="127.0.0.1:15910")
    parser.add_argument("--trigger", type=int, default=15901)
    parser.add_argument("--translator", default="hauberk.local.pilot:SidecarTranslator")
    options = parser.parse_args()
    configure_logging("control-plane", readable=True)
    running = serve(options.services, options.endpoints, options.address, options.trigger, options.translator)
    asyncio.run(running)


if __name__ == "__main__":
    main()
