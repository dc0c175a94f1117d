"""The certificate authority by itself for bench/issuing.py: the store, the database and the ledger on disk, one socket for each machine.

Says the uids of its pods, one on each machine; at the end of its input how late its event loop was, in milliseconds: at worst, and at
99 of 100 looks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from hauberk.api.metadata import Metadata
from hauberk.api.pod import Pod
from hauberk.api.service_account import ServiceAccount
from hauberk.citadel.attestation import Caller
from hauberk.citadel.service import serving
from hauberk.citadel.settings import CitadelSettings
from hauberk.kit.clock import SystemClock
from hauberk.kit.log import configure_logging
from hauberk.kit.places import Places
from hauberk.local.citadel import ServedCitadel
from hauberk.sources.change import Put
from hauberk.sources.store import Store

NAMESPACE = "bench"
LOOK_SECONDS = 0.005


def node_name(number: int) -> str:
    return f"node-{number}"


def pod_name(number: int) -> str:
    return f"pod-{number}"


def make_pod(number: int) -> Pod:
    document = {
        "metadata": {"name": pod_name(number), "namespace": NAMESPACE},
        "spec": {
            "serviceAccountName": f"account-{number % 50}",
            "nodeName": node_name(number),
            "containers": [{"name": "app", "command": ["app"]}],
        },
    }
    return Pod.model_validate(document)


async def look(late: list[float]) -> None:
    """How late the event loop comes back to what waits for it: every other part of the control plane waits as long."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        late.append((loop.time() - due) * 1000)


async def serve(agents: int) -> None:
    places = Places("bench")
    places.create()
    store = Store(places.objects)
    accounts = [ServiceAccount(metadata=Metadata(name=f"account-{number}", namespace=NAMESPACE)) for number in range(50)]
    await store.commit([Put(object=each) for each in (*accounts, *(make_pod(number) for number in range(agents)))])
    # The limit is per machine and would be measured otherwise.
    settings = replace(CitadelSettings(), issue_rate=1e6, issue_burst=10**6)
    served = ServedCitadel.open(store, places, trust_domains=("cluster.local",), node="bench", settings=settings, clock=SystemClock())
    late: list[float] = []
    async with AsyncExitStack() as stack:
        for number in range(agents):
            caller = Caller(node=node_name(number), evidence=(("socket", "bench"),))
            await stack.enter_async_context(serving(served.citadel, places.run / f"{number}.sock", caller))
        keeping, looking = asyncio.create_task(served.citadel.run()), asyncio.create_task(look(late))
        pods = [store.find(Pod, NAMESPACE, pod_name(number)) for number in range(agents)]
        print(json.dumps([pod.metadata.uid for pod in pods if pod is not None]), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        keeping.cancel()
        looking.cancel()
        late.sort()
        print(f"{late[-1]:.3f} {late[len(late) * 99 // 100]:.3f}", flush=True)
    served.close()
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    configure_logging("control-plane", path=options.log)
    asyncio.run(serve(options.agents))


if __name__ == "__main__":
    main()
