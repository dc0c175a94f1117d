from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from tests.unit.xds.envoys import cluster, decode, endpoints

from hauberk.xds.client import DeltaClient, Received, ResourcePool
from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.resource import CLUSTER, ENDPOINTS, Resource
from hauberk.xds.session import DeltaSession

NODE = Node(id="sidecar~10.0.0.1~web.shop~shop.svc.cluster.local")


def server(*resources: Resource) -> DeltaSession:
    session = DeltaSession()
    session.on_resources(ResourceSet((Layer.of("all", resources),), 1))
    return session


def serve(client: DeltaClient, session: DeltaSession, requests: tuple[DeltaDiscoveryRequest, ...]) -> list[Received]:
    received = []
    pending = list(requests)
    while pending:
        for update in session.on_request(pending.pop(0)):
            received.append(client.on_response(decode(update)))
            pending.append(client.acknowledge(received[-1]))
    return received


def test_only_the_first_request_of_a_stream_says_who_asks() -> None:
    client = DeltaClient(NODE)
    client.want(CLUSTER, {"*"})
    client.want(ENDPOINTS, {"a"})
    first, second = client.connect()
    assert first.node.id == NODE.id
    assert not second.HasField("node")


def test_what_is_told_is_held() -> None:
    client, session = DeltaClient(NODE), server(cluster("a"), endpoints("a"))
    client.want(CLUSTER, {"*"})
    serve(client, session, client.connect())
    serve(client, session, client.want(ENDPOINTS, {"a", "b"}))
    assert client.resources.get(CLUSTER, "a") == cluster("a")
    assert client.resources.get(ENDPOINTS, "a") == endpoints("a")
    assert session.synced or session.settled(CLUSTER)


def test_what_the_server_denied_is_known_not_to_exist() -> None:
    client, session = DeltaClient(NODE), server(endpoints("a"))
    client.want(ENDPOINTS, {"a", "b"})
    serve(client, session, client.connect())
    assert client.resources.lacks(ENDPOINTS, "b")
    assert not client.resources.lacks(ENDPOINTS, "c")


def test_once_everything_was_told_what_is_missing_does_not_exist() -> None:
    client, session = DeltaClient(NODE), server(cluster("a"))
    client.want(CLUSTER, {"*"})
    assert not client.resources.lacks(CLUSTER, "b")
    serve(client, session, client.connect())
    assert client.resources.lacks(CLUSTER, "b")


def test_after_a_reconnect_nothing_unchanged_is_told() -> None:
    client, session = DeltaClient(NODE), server(cluster("a"), endpoints("a"))
    client.want(CLUSTER, {"*"})
    client.want(ENDPOINTS, {"a"})
    serve(client, session, client.connect())
    client.disconnect()
    assert serve(client, server(cluster("a"), endpoints("a")), client.connect()) == []


def test_a_restarted_relay_asks_only_for_what_its_cache_lacks() -> None:
    client = DeltaClient(NODE, held=[cluster("a"), cluster("b")])
    client.want(CLUSTER, {"*"})
    (received,) = serve(client, server(cluster("a"), cluster("b", "2")), client.connect())
    assert received.updated == {"b"}


def test_names_no_longer_wanted_are_forgotten() -> None:
    client, session = DeltaClient(NODE), server(endpoints("a"), endpoints("b"))
    client.want(ENDPOINTS, {"a", "b"})
    serve(client, session, client.connect())
    (request,) = client.want(ENDPOINTS, {"b"})
    assert list(request.resource_names_unsubscribe) == ["a"]
    assert client.resources.names(ENDPOINTS) == {"b"}


def test_nothing_is_asked_while_there_is_no_stream() -> None:
    client = DeltaClient(NODE)
    assert client.want(CLUSTER, {"*"}) == ()
    assert client.ask_again(CLUSTER, {"a"}) == ()
    assert not client.connected


def test_nothing_is_asked_when_nothing_else_is_wanted() -> None:
    client = DeltaClient(NODE)
    client.connect()
    assert len(client.want(ENDPOINTS, {"a"})) == 1
    assert client.want(ENDPOINTS, {"a"}) == ()


def test_a_refusal_carries_the_words_of_the_one_who_refused() -> None:
    client = DeltaClient(NODE)
    received = client.on_response(DeltaDiscoveryResponse(type_url=CLUSTER, nonce="n"))
    refusal = client.refuse(received, "a: bad")
    assert (refusal.response_nonce, refusal.error_detail.message) == ("n", "a: bad")


def test_the_relays_of_one_machine_hold_each_resource_once() -> None:
    pool = ResourcePool()
    clients = [DeltaClient(NODE, pool=pool) for _ in range(2)]
    for client in clients:
        client.want(CLUSTER, {"*"})
        serve(client, server(cluster("a")), client.connect())
    one, other = (client.resources.get(CLUSTER, "a") for client in clients)
    assert one is other
