"""Real gRPC over a Unix socket, in one process."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from tests.unit.xds.envoys import cluster

from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.resource import CLUSTER, Resource
from hauberk.xds.session import DeltaSession
from hauberk.xds.stream import ClientStream, DeltaServer, DeltaStream, StreamRefused, dial


class Owner:
    def __init__(self, *resources: Resource) -> None:
        self.session = DeltaSession()
        self.resources = resources
        self.stream: DeltaStream | None = None
        self.heard_types: list[str] = []
        self.ended = asyncio.Event()

    def opened(self, stream: DeltaStream) -> None:
        self.stream = stream
        self.tell(*self.resources)

    def tell(self, *resources: Resource) -> None:
        assert self.stream is not None
        self.stream.tell(ResourceSet((Layer.of("all", resources),)))

    def heard(self, request: DeltaDiscoveryRequest) -> None:
        self.heard_types.append(request.type_url)

    def closed(self) -> None:
        self.ended.set()


async def read(stream: ClientStream) -> DeltaDiscoveryResponse:
    async for response in stream:
        return response
    raise AssertionError("the stream ended")


def accept(owner: Owner) -> Callable[[DeltaDiscoveryRequest], Owner]:
    return lambda first: owner


async def test_a_client_is_told_what_it_asks_for_and_every_change(tmp_path: Path) -> None:
    owner, address = Owner(cluster("a")), f"unix:{tmp_path}/xds.sock"
    async with asyncio.timeout(10), DeltaServer(accept(owner)).serving(address), dial(address) as stream:
        await stream.send(DeltaDiscoveryRequest(type_url=CLUSTER, node=Node(id="me")))
        first = await read(stream)
        assert [r.name for r in first.resources] == ["a"]
        assert owner.session.node is not None
        assert owner.session.node.id == "me"
        await stream.send(DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=first.nonce))
        owner.tell(cluster("a", "2"))
        second = await read(stream)
        assert second.resources[0].version == cluster("a", "2").version
    await owner.ended.wait()


async def test_a_refused_proxy_hears_why(tmp_path: Path) -> None:
    def refuse(first: DeltaDiscoveryRequest) -> Owner:
        raise StreamRefused(f"no pod {first.node.id!r} is known here")

    address = f"unix:{tmp_path}/xds.sock"
    async with asyncio.timeout(10), DeltaServer(refuse).serving(address), dial(address) as stream:
        await stream.send(DeltaDiscoveryRequest(type_url=CLUSTER, node=Node(id="x")))
        with pytest.raises(grpc.aio.AioRpcError, match="no pod 'x'"):
            await read(stream)


async def test_the_owner_learns_that_the_client_is_gone(tmp_path: Path) -> None:
    owner, address = Owner(cluster("a")), f"unix:{tmp_path}/xds.sock"
    async with asyncio.timeout(10), DeltaServer(accept(owner)).serving(address):
        async with dial(address) as stream:
            await stream.send(DeltaDiscoveryRequest(type_url=CLUSTER))
            await read(stream)
        await owner.ended.wait()
        assert owner.heard_types == [CLUSTER]


async def test_a_client_that_takes_nothing_costs_one_response_and_then_gets_the_latest(tmp_path: Path) -> None:
    owner, address = Owner(cluster("a", "x" * 3_000_000)), f"unix:{tmp_path}/xds.sock"
    async with asyncio.timeout(20), DeltaServer(accept(owner)).serving(address), dial(address) as stream:
        await stream.send(DeltaDiscoveryRequest(type_url=CLUSTER))
        first = await read(stream)
        for number in range(50):
            owner.tell(cluster("a", f"{number}" * 1_000_000))
        await stream.send(DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=first.nonce))
        last = await read(stream)
        assert last.resources[0].version == cluster("a", "49" * 1_000_000).version


async def test_addresses_are_given_back_and_can_be_taken_again(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/xds.sock"
    for _ in range(2):
        async with asyncio.timeout(10), DeltaServer(accept(Owner())).serving(address, "127.0.0.1:0") as ports:
            assert ports[1] > 0
