"""The xDS room against real Envoys: static bootstrap, delta ADS over a Unix socket, no privileges."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from hauberk.envoy.binary import find_envoy
from hauberk.envoy.message import any_, duration
from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource
from hauberk.xds.session import DeltaSession
from hauberk.xds.stream import DeltaServer, DeltaStream
from hauberk.xds.update import Rejection, Update

# Far below the 15 s that Envoy waits for endpoints which nobody sends again: what takes longer has failed.
PATIENCE = 10
ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


class Program:
    """An HTTP server that says its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Program]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                body = self.name.encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Owner:
    """One Envoy's session, and everything it was told over all its streams."""

    def __init__(self, resources: ResourceSet, rejections: tuple[Rejection, ...] = ()) -> None:
        self.session = DeltaSession(rejections=rejections)
        self.resources = resources
        self.stream: DeltaStream | None = None
        self.told: list[Update] = []
        self.changed = asyncio.Event()

    def opened(self, stream: DeltaStream) -> None:
        self.stream = stream
        send = stream.send

        def remember(updates: tuple[Update, ...]) -> None:
            self.told.extend(updates)
            send(updates)

        stream.send = remember  # type: ignore[method-assign, assignment]  # a tap on the wire
        stream.tell(self.resources)

    def heard(self, request: DeltaDiscoveryRequest) -> None:
        self.changed.set()

    def closed(self) -> None:
        self.stream = None
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def synced(self) -> None:
        await self.until(lambda: self.session.synced)

    async def push(self, *resources: Resource) -> list[Update]:
        """Go over to `resources`; what was told on the way."""
        self.resources = ResourceSet((Layer.of("all", resources),), self.resources.revision + 1)
        before = len(self.told)
        assert self.stream is not None
        self.stream.tell(self.resources)
        await self.synced()
        return self.told[before:]


class Control:
    """The server's side: it may stop and come back."""

    def __init__(self, directory: Path) -> None:
        self.address = f"unix:{directory}/xds.sock"
        self.owners: list[Owner] = []
        self._accepted = asyncio.Event()

    @asynccontextmanager
    async def serving(self, *resources: Resource) -> AsyncIterator[Control]:
        target = ResourceSet((Layer.of("all", resources),), 1)
        rejections = self.owners[-1].session.rejections if self.owners else ()

        def accept(first: DeltaDiscoveryRequest) -> Owner:
            self.owners.append(Owner(target, rejections))
            self._accepted.set()
            return self.owners[-1]

        async with DeltaServer(accept).serving(self.address):
            yield self

    async def owner(self, number: int) -> Owner:
        async with asyncio.timeout(PATIENCE):
            while len(self.owners) <= number:
                self._accepted.clear()
                await self._accepted.wait()
        owner = self.owners[number]
        await owner.synced()
        return owner


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def cluster(name: str, *, connect_timeout: float = 1.0) -> Resource:
    eds = Cluster.EdsClusterConfig(eds_config=ADS)
    made = Cluster(name=name, type=Cluster.EDS, eds_cluster_config=eds, connect_timeout=duration(connect_timeout))
    return Resource.of(made, name, origins=(f"Service/shop/{name}",))


def address(port: int) -> Address:
    return Address(socket_address={"address": "127.0.0.1", "port_value": port})  # type: ignore[arg-type]  # protobuf takes dicts


def endpoints(name: str, port: int) -> Resource:
    endpoint = LbEndpoint(endpoint=Endpoint(address=address(port)))
    return Resource.of(ClusterLoadAssignment(cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=[endpoint])]), name)


def listener(name: str, port: int, routes: str) -> Resource:
    manager = HttpConnectionManager(stat_prefix=name, rds=Rds(config_source=ADS, route_config_name=routes))
    manager.http_filters.append(HttpFilter(name="router", typed_config=any_(Router())))
    chain = FilterChain(filters=[Filter(name="hcm", typed_config=any_(manager))])
    return Resource.of(Listener(name=name, address=address(port), filter_chains=[chain]), name, origins=(f"Gateway/shop/{name}",))


def routes(name: str, to: str) -> Resource:
    route = Route(match=RouteMatch(prefix="/"), route=RouteAction(cluster=to))
    host = VirtualHost(name="all", domains=["*"], routes=[route])
    return Resource.of(RouteConfiguration(name=name, virtual_hosts=[host]), name)


class Envoy:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()

    def bootstrap(self) -> str:
        http2 = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
        grpc_service = {"envoy_grpc": {"cluster_name": "xds"}}
        pipe = {"endpoint": {"address": {"pipe": {"path": str(self.directory / "xds.sock")}}}}
        return json.dumps(
            {
                "node": {"id": "sidecar~127.0.0.1~web.shop~shop.svc.cluster.local", "cluster": "web"},
                "admin": {"address": {"pipe": {"path": str(self.directory / "admin.sock")}}},
                "dynamic_resources": {
                    "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [grpc_service]},
                    "cds_config": {"ads": {}, "resource_api_version": "V3"},
                    "lds_config": {"ads": {}, "resource_api_version": "V3"},
                },
                "static_resources": {
                    "clusters": [
                        {
                            "name": "xds",
                            "type": "STATIC",
                            "connect_timeout": "1s",
                            "typed_extension_protocol_options": {
                                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                                    **http2,
                                    "explicit_http_config": {"http2_protocol_options": {}},
                                }
                            },
                            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [pipe]}]},
                        }
                    ]
                },
            }
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Envoy]:
        options = ["--use-dynamic-base-id", "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]
        with (self.directory / "envoy.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                find_envoy(), *options, "--config-yaml", self.bootstrap(), stdout=log, stderr=log
            )
            try:
                yield self
            finally:
                process.kill()
                await process.wait()

    async def get(self) -> tuple[int, str]:
        """Status and body of one request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return await exchange(reader, writer, "/")

    async def admin(self, path: str) -> Any:
        reader, writer = await asyncio.open_unix_connection(str(self.directory / "admin.sock"))
        _, body = await exchange(reader, writer, path)
        return json.loads(body)


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, str]:
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    if b"transfer-encoding: chunked" in head:
        body = dechunk(body)
    return int(head.split()[1]), body.decode()


def dechunk(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(parts)


def types(updates: list[Update]) -> list[str]:
    return [update.type_url for update in updates]


@pytest.fixture
def directory() -> Iterator[Path]:
    # Short: a Unix socket's path has 107 bytes.
    with tempfile.TemporaryDirectory(prefix="hbk-xds-") as name:
        yield Path(name)


class World:
    """One Envoy that leads to one of two programs, and its server."""

    def __init__(self, control: Control, envoy: Envoy, one: Program, two: Program) -> None:
        self.control = control
        self.envoy = envoy
        self.one = one
        self.two = two

    def basic(self, *, timeout: float = 1.0) -> tuple[Resource, ...]:
        port = self.envoy.port
        return (cluster("one", connect_timeout=timeout), endpoints("one", self.one.port), listener("in", port, "r"), routes("r", "one"))


@pytest.fixture
async def world(directory: Path) -> AsyncIterator[World]:
    envoy = Envoy(directory)
    async with Program("one").serving() as one, Program("two").serving() as two, envoy.running():
        yield World(Control(directory), envoy, one, two)


async def test_a_real_envoy_is_configured_and_serves(world: World) -> None:
    async with world.control.serving(*world.basic()):
        owner = await world.control.owner(0)
        assert types(owner.told) == [CLUSTER, ENDPOINTS, LISTENER, ROUTES]
        assert await world.envoy.get() == (200, "one")


async def test_an_endpoint_change_is_one_resource(world: World) -> None:
    async with world.control.serving(*world.basic()):
        owner = await world.control.owner(0)
        before = world.basic()
        told = await owner.push(before[0], endpoints("one", world.two.port), *before[2:])
        assert types(told) == [ENDPOINTS]
        assert await world.envoy.get() == (200, "two")


async def test_a_changed_cluster_is_in_use_at_once(world: World) -> None:
    async with world.control.serving(*world.basic()):
        owner = await world.control.owner(0)
        told = await owner.push(*world.basic(timeout=2.0))
        assert types(told) == [CLUSTER, ENDPOINTS]
        dump = await world.envoy.admin("/config_dump?resource=dynamic_warming_clusters")
        assert dump.get("configs", []) == []
        active = await world.envoy.admin("/config_dump?resource=dynamic_active_clusters")
        assert [each["cluster"]["connect_timeout"] for each in active["configs"]] == ["2s"]


async def test_clusters_come_and_go_under_load_without_a_failed_request(world: World) -> None:
    async with world.control.serving(*world.basic()):
        owner = await world.control.owner(0)
        answers: list[tuple[int, str]] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                answers.append(await world.envoy.get())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load())
            for number in range(20):
                name = f"c{number}"
                to = (world.one, world.two)[number % 2]
                await owner.push(cluster(name), endpoints(name, to.port), world.basic()[2], routes("r", name))
            stop.set()
        assert {status for status, _ in answers} == {200}
        assert {body for _, body in answers} == {"one", "two"}


async def test_after_a_restart_of_the_server_nothing_is_told_again(world: World) -> None:
    async with world.control.serving(*world.basic()):
        await world.control.owner(0)
    assert await world.envoy.get() == (200, "one")
    async with world.control.serving(*world.basic()):
        owner = await world.control.owner(1)
        await owner.until(lambda: owner.session.settled(ROUTES) and bool(owner.session.subscribed(ROUTES)))
        assert owner.told == []


async def test_after_a_restart_only_what_changed_is_told(world: World) -> None:
    async with world.control.serving(*world.basic()):
        await world.control.owner(0)
    before = world.basic()
    changed = (before[0], endpoints("one", world.two.port), *before[2:], cluster("two"), endpoints("two", world.two.port))
    async with world.control.serving(*changed):
        owner = await world.control.owner(1)
        told = {(update.type_url, resource.name) for update in owner.told for resource in update.resources()}
        assert told == {(ENDPOINTS, "one"), (CLUSTER, "two"), (ENDPOINTS, "two")}
        assert await world.envoy.get() == (200, "two")


async def test_a_refused_listener_leaves_the_rest_and_is_told_once(world: World) -> None:
    # Two chains that match the same connections: only Envoy finds that out.
    broken = Listener(name="bad", address=address(free_port()), filter_chains=[FilterChain(), FilterChain()])
    bad = Resource.of(broken, "bad", origins=("Gateway/shop/bad",))
    async with world.control.serving(*world.basic()):
        owner = await world.control.owner(0)
        await owner.push(*world.basic()[:3], routes("r", "one"), bad)
        (rejection,) = owner.session.rejections
        assert (rejection.name, rejection.origins) == ("bad", ("Gateway/shop/bad",))
        assert await world.envoy.get() == (200, "one")
        assert await owner.push(*world.basic(), bad) == []
    async with world.control.serving(*world.basic(), bad):
        again = await world.control.owner(1)
        assert again.told == []
        assert [each.name for each in again.session.rejections] == ["bad"]
