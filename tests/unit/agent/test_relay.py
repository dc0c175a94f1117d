"""The relay between an Envoy and its control plane: both are played here, and what passes between them is claimed."""

from collections.abc import Iterable
from typing import cast

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.rpc.status_pb2 import Status

from hauberk.agent.relay import Downstream, Relay
from hauberk.agent.rotation import Identity
from hauberk.agent.sds import Secrets
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.svid import X509Svid
from hauberk.identity.trust import Trust
from hauberk.xds.encode import encode_resources, encode_response
from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.resource import CLUSTER, EXTENSION, LISTENER, ROUTES, SECRET, Resource
from hauberk.xds.stream import DeltaStream
from hauberk.xds.update import Update

MAIN = ("virtualInbound", "virtualOutbound")
SOMEBODY = Identity(svid=X509Svid(spiffe_id=SpiffeId("td", "/ns/shop/sa/web"), chain=()), authority_id="A", key_pem=b"")


def cluster(name: str, seconds: int = 1) -> Resource:
    made = Cluster(name=name)
    made.connect_timeout.FromSeconds(seconds)
    return Resource.of(made, name)


def listener(name: str, prefix: str = "") -> Resource:
    return Resource.of(Listener(name=name, stat_prefix=prefix), name)


def identity(key: bytes = b"key") -> Layer:
    secret = Secret(name="default")
    secret.tls_certificate.private_key.inline_bytes = key
    return Layer.of("identity", (Resource.of(secret, "default"),))


class FakeStream:
    """What the gRPC side would do with a session's responses: keeps them."""

    def __init__(self, downstream: Downstream) -> None:
        self.downstream = downstream
        self.sent: list[Update] = []

    def tell(self, resources: ResourceSet) -> bool:
        self.sent.extend(self.downstream.session.on_resources(resources))
        return True


class FakeEnvoy:
    """An Envoy that asks for clusters, listeners and secrets, and holds what it accepts."""

    def __init__(self, relay: Relay, *, refuses: Iterable[str] = (), held: dict[str, dict[str, str]] | None = None) -> None:
        self.relay = relay
        self.refuses = frozenset(refuses)
        self.downstream = relay.accept(DeltaDiscoveryRequest())
        self.stream = FakeStream(self.downstream)
        self.held: dict[str, dict[str, str]] = held or {}
        self.received: list[str] = []
        self.downstream.opened(cast(DeltaStream, self.stream))

    def ask(self, type_url: str, names: Iterable[str] = ()) -> None:
        request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=list(names))
        request.node.id = "whatever it says"
        request.initial_resource_versions.update(self.held.get(type_url, {}))
        self._say(request)

    def start(self) -> None:
        for type_url, names in ((CLUSTER, ()), (LISTENER, ()), (SECRET, ("default",))):
            self.ask(type_url, names)
            self.answer()

    def answer(self) -> None:
        """Every response that was sent is answered, until none is left."""
        while self.stream.sent:
            update = self.stream.sent.pop(0)
            request = DeltaDiscoveryRequest(type_url=update.type_url, response_nonce=update.nonce)
            bad = sorted(update.names() & self.refuses)
            if bad:
                request.error_detail.CopyFrom(Status(code=3, message="; ".join(f"{name}: bad" for name in bad)))
            held = self.held.setdefault(update.type_url, {})
            held.update({r.name: r.version for r in update.resources() if r.name not in bad})
            for name in update.removed:
                held.pop(name, None)
            self.received.extend(r.name for r in update.resources())
            self._say(request)

    def _say(self, request: DeltaDiscoveryRequest) -> None:
        self.stream.sent.extend(self.downstream.session.on_request(request))
        self.downstream.heard(request)


class FakeControlPlane:
    """Hears requests and sends responses."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.heard: list[DeltaDiscoveryRequest] = []
        relay.connect(self.heard.append)

    def tell(self, *resources: Resource, removed: tuple[str, ...] = (), nonce: str = "n1", type_url: str = "") -> None:
        body = encode_response(type_url or resources[0].type_url, nonce, (encode_resources(resources),), removed)
        self.relay.on_response(DeltaDiscoveryResponse.FromString(body))

    def answers(self) -> dict[str, str]:
        """Nonce to refusal, empty for an acknowledgement."""
        return {request.response_nonce: request.error_detail.message for request in self.heard if request.response_nonce}


@pytest.fixture
def relay() -> Relay:
    return Relay(Node(id="sidecar~10.244.0.5~web.shop~shop.svc.cluster.local"))


def configure(relay: Relay, plane: FakeControlPlane) -> None:
    relay.set_identity(identity())
    plane.tell(cluster("a"), nonce="c1")
    plane.tell(*(listener(name) for name in MAIN), nonce="l1")


def test_the_control_plane_hears_the_agents_node_and_never_envoys(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    FakeEnvoy(relay).start()
    nodes = [request.node.id for request in plane.heard if request.HasField("node")]
    assert nodes == ["sidecar~10.244.0.5~web.shop~shop.svc.cluster.local"]


def test_clusters_and_listeners_are_asked_for_before_envoy_is_there(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    assert [(r.type_url, list(r.resource_names_subscribe)) for r in plane.heard] == [(CLUSTER, ["*"]), (LISTENER, ["*"])]


def test_an_answer_is_passed_up_only_after_envoy_has_given_it(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    plane.tell(cluster("a"), nonce="c1")
    assert plane.answers() == {}
    envoy = FakeEnvoy(relay)
    envoy.ask(CLUSTER)
    assert plane.answers() == {}
    envoy.answer()
    assert plane.answers() == {"c1": ""}


def test_what_envoy_refuses_is_refused_upwards_in_its_own_words(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay, refuses=["b"])
    plane.tell(cluster("a"), cluster("b"), nonce="c1")
    envoy.start()
    assert plane.answers() == {"c1": "b: bad"}
    assert [r.name for r in relay.rejections] == ["b"]


def test_secrets_come_from_the_agent_and_are_never_asked_of_the_control_plane(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    envoy.start()
    assert "default" in envoy.held[SECRET]
    assert SECRET not in {request.type_url for request in plane.heard}


def test_a_secret_waits_for_the_identity_instead_of_being_declared_missing(relay: Relay) -> None:
    envoy = FakeEnvoy(relay)
    envoy.ask(SECRET, ("default",))
    assert envoy.stream.sent == []
    relay.set_identity(identity())
    envoy.answer()
    assert envoy.received == ["default"]


def test_a_new_key_is_pushed_and_nothing_else(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    envoy.start()
    envoy.received.clear()
    relay.set_identity(identity(b"another"))
    envoy.answer()
    assert envoy.received == ["default"]


def test_it_is_configured_when_envoy_has_accepted_everything(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    envoy.start()
    assert not relay.configured
    configure(relay, plane)
    assert not relay.configured
    envoy.answer()
    assert relay.configured


def test_a_refused_main_listener_means_not_configured_and_any_other_does_not(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay, refuses=["virtualInbound"])
    configure(relay, plane)
    envoy.start()
    assert not relay.configured
    plane.tell(listener("virtualInbound", "better"), listener("0.0.0.0_80"), nonce="l2")
    envoy.refuses = frozenset({"0.0.0.0_80"})
    envoy.answer()
    assert relay.configured
    assert plane.answers()["l2"] == "0.0.0.0_80: bad"


def test_a_restarted_envoy_is_configured_while_the_control_plane_is_down(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    first = FakeEnvoy(relay)
    configure(relay, plane)
    first.start()
    relay.disconnect()
    first.downstream.closed()
    assert not relay.connected
    second = FakeEnvoy(relay)
    second.start()
    assert second.held == first.held
    assert relay.configured


def test_a_restarted_envoy_that_cannot_have_its_ports_is_not_configured_but_stuck(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    first = FakeEnvoy(relay)
    first.start()
    configure(relay, plane)
    first.answer()
    relay.disconnect()
    restarted = FakeEnvoy(relay, refuses={"virtualInbound"})
    restarted.start()
    assert (relay.configured, relay.stuck) == (False, True)
    assert [(r.name, r.message) for r in relay.rejections] == [("virtualInbound", "virtualInbound: bad")]
    FakeEnvoy(relay).start()
    assert (relay.configured, relay.stuck, relay.rejections) == (True, False, ())


def test_a_new_main_listener_that_is_refused_leaves_nothing_stuck(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay, refuses={"virtualInbound"})
    envoy.start()
    configure(relay, plane)
    envoy.answer()
    assert (relay.configured, relay.stuck) == (False, False)


def test_the_last_good_version_is_what_a_restarted_envoy_gets(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    envoy.start()
    good = envoy.held[CLUSTER]["a"]
    envoy.refuses = frozenset({"a"})
    plane.tell(cluster("a", 9), nonce="c2")
    envoy.answer()
    assert plane.answers()["c2"] == "a: bad"
    envoy.downstream.closed()
    second = FakeEnvoy(relay)
    second.start()
    assert second.held[CLUSTER]["a"] == good


def test_a_refused_resource_told_again_is_refused_again_without_asking_envoy(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    envoy.start()
    envoy.refuses = frozenset({"a"})
    plane.tell(cluster("a", 9), nonce="c2")
    envoy.answer()
    envoy.received.clear()
    again = FakeControlPlane(relay)
    again.tell(cluster("a", 9), nonce="c3")
    envoy.answer()
    assert again.answers() == {"c3": "a: bad"}
    assert envoy.received in ([], ["a"])  # at most its good version once more
    again.tell(cluster("a", 10), nonce="c4")
    envoy.refuses = frozenset()
    envoy.answer()
    assert again.answers()["c4"] == ""
    assert relay.rejections == ()


def test_after_a_reconnect_the_control_plane_is_told_what_is_held(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    envoy.start()
    relay.disconnect()
    plane = FakeControlPlane(relay)
    versions = {request.type_url: dict(request.initial_resource_versions) for request in plane.heard}
    assert versions[CLUSTER] == envoy.held[CLUSTER]
    assert versions[LISTENER] == envoy.held[LISTENER]


def test_an_unanswered_response_is_asked_for_again_after_a_reconnect(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    envoy.start()
    envoy.refuses = frozenset({"b"})
    plane.tell(cluster("b"), nonce="c2")
    relay.disconnect()
    plane = FakeControlPlane(relay)
    assert [list(r.resource_names_subscribe) for r in plane.heard if r.type_url == CLUSTER] == [["*"], ["b"]]
    envoy.answer()
    assert plane.answers() == {}  # the old stream's nonce means nothing here
    plane.tell(cluster("b"), nonce="new")
    envoy.answer()
    assert plane.answers() == {"new": "b: bad"}


def test_after_the_agents_restart_an_unchanged_envoy_is_sent_nothing(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    envoy.start()
    kept = relay.settled_resources
    assert kept is not None
    restarted = Relay(Node(id="x"), held=kept)
    restarted.set_identity(identity())
    back = FakeEnvoy(restarted, held=envoy.held)
    back.start()
    assert back.received == []
    assert restarted.configured


def test_what_is_kept_holds_no_secret_and_nothing_that_envoy_has_not_accepted(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    assert relay.settled_resources is None
    envoy.start()
    kept = relay.settled_resources
    assert kept is not None
    assert {resource.type_url for resource in kept} == {CLUSTER, LISTENER}


def test_a_removed_resource_is_removed_from_envoy_and_acknowledged(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    envoy = FakeEnvoy(relay)
    configure(relay, plane)
    envoy.start()
    plane.tell(removed=("a",), nonce="c2", type_url=CLUSTER)
    envoy.answer()
    assert "a" not in envoy.held[CLUSTER]
    assert plane.answers()["c2"] == ""


def test_an_old_stream_of_a_dead_envoy_does_not_disturb_the_new_one(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    first = FakeEnvoy(relay)
    configure(relay, plane)
    first.start()
    second = FakeEnvoy(relay)
    second.start()
    first.downstream.closed()
    assert relay.configured


def secrets(name: str = "default", version: str = "1") -> Secrets:
    """Secrets of which only the bytes matter here."""
    made = Secret(name=name)
    made.generic_secret.secret.inline_string = version
    return Secrets(Layer.of("identity", (Resource.of(made, name),)), Trust(sequence=1, trust_domain="td"), SOMEBODY)


def test_secrets_are_proven_when_envoy_has_acknowledged_them_and_not_before(relay: Relay) -> None:
    first, second = secrets(version="1"), secrets(version="2")
    relay.set_secrets(first)
    envoy = FakeEnvoy(relay)
    assert relay.acknowledged is None
    envoy.ask(SECRET, ("default",))
    assert relay.acknowledged is None
    envoy.answer()
    assert relay.acknowledged is first
    relay.set_secrets(second)
    assert relay.acknowledged is first
    envoy.answer()
    assert relay.acknowledged is second


def test_secrets_that_envoy_refuses_are_not_proven(relay: Relay) -> None:
    first, second = secrets(version="1"), secrets(version="2")
    relay.set_secrets(first)
    envoy = FakeEnvoy(relay)
    envoy.start()
    envoy.refuses = frozenset({"default"})
    relay.set_secrets(second)
    envoy.answer()
    assert relay.acknowledged is first


def test_secrets_that_tell_nothing_new_are_proven_at_once(relay: Relay) -> None:
    first = secrets()
    relay.set_secrets(first)
    envoy = FakeEnvoy(relay)
    envoy.start()
    again = Secrets(first.layer, Trust(sequence=2, trust_domain="td"), SOMEBODY)
    relay.set_secrets(again)
    assert envoy.stream.sent == []
    assert relay.acknowledged is again


def test_an_envoy_that_is_gone_proves_nothing(relay: Relay) -> None:
    relay.set_secrets(secrets())
    envoy = FakeEnvoy(relay)
    envoy.start()
    envoy.downstream.closed()
    assert relay.acknowledged is None


def test_an_envoy_that_came_back_and_has_not_asked_yet_proves_nothing(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    main = Listener(name="virtualInbound", stat_prefix="names ROOTCA")
    relay.set_secrets(secrets())
    plane.tell(cluster("a"), nonce="c1")
    plane.tell(Resource.of(main, "virtualInbound"), listener("virtualOutbound"), nonce="l1")
    envoy = FakeEnvoy(relay)
    for type_url in (CLUSTER, LISTENER):
        envoy.ask(type_url)
        envoy.answer()
    assert (relay.configured, relay.acknowledged) == (True, None)
    envoy.ask(SECRET, ("default",))
    envoy.answer()
    assert relay.acknowledged is not None


def test_an_envoy_that_came_back_has_not_proven_whom_it_refuses_before_it_has_asked_for_that() -> None:
    inbound = Listener(name="virtualInbound", stat_prefix="names hauberk-revoked")
    relay, made = Relay(Node(id="x"), held=(Resource.of(inbound, "virtualInbound"),)), secrets()
    relay.set_revoked(Layer.of("revoked", (Resource.of(TypedExtensionConfig(name="hauberk-revoked"), "hauberk-revoked"),)))
    relay.set_secrets(made)
    envoy = FakeEnvoy(relay, held={SECRET: {resource.name: resource.version for resource in made.layer}})
    envoy.ask(SECRET, ("default",))
    envoy.answer()
    assert relay.acknowledged is None
    envoy.ask(EXTENSION, ("hauberk-revoked",))
    assert relay.acknowledged is None
    envoy.answer()
    assert relay.acknowledged is made


def test_an_envoy_whose_configuration_names_no_secret_has_proven_all_that_there_is_to_prove(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    made = secrets()
    relay.set_secrets(made)
    plane.tell(cluster("a"), nonce="c1")
    plane.tell(*(listener(name) for name in MAIN), nonce="l1")
    envoy = FakeEnvoy(relay)
    for type_url in (CLUSTER, LISTENER):
        envoy.ask(type_url)
        envoy.answer()
    assert relay.acknowledged is made


def test_an_agent_that_knows_only_whom_to_trust_leaves_envoy_its_certificate(relay: Relay) -> None:
    before = secrets()
    relay.set_secrets(before)
    envoy = FakeEnvoy(relay)
    envoy.ask(SECRET, ("default", "ROOTCA"))
    envoy.answer()
    restarted = Relay(Node(id="x"))
    trust = secrets("ROOTCA")
    restarted.set_secrets(Secrets(trust.layer, trust.trust, None))
    back = FakeEnvoy(restarted, held=envoy.held)
    back.ask(SECRET, ("default", "ROOTCA"))
    back.answer()
    assert back.received == ["ROOTCA"]
    assert back.held[SECRET]["default"] == envoy.held[SECRET]["default"]
    assert not restarted.configured


def extension(name: str, text: str = "") -> Resource:
    made = TypedExtensionConfig(name=name)
    made.typed_config.type_url = f"type.googleapis.com/{text or 'nothing'}"
    return Resource.of(made, name)


def revoked() -> Layer:
    return Layer.of("revoked", (extension("hauberk-revoked"), extension("hauberk-revoked-tcp")))


def test_of_configurations_of_filters_only_those_are_asked_for_that_the_agent_does_not_serve_itself(relay: Relay) -> None:
    plane = FakeControlPlane(relay)
    relay.set_revoked(revoked())
    envoy = FakeEnvoy(relay)
    envoy.ask(EXTENSION, ("hauberk-revoked", "hauberk-revoked-tcp", "policy"))
    envoy.answer()
    assert [list(r.resource_names_subscribe) for r in plane.heard if r.type_url == EXTENSION] == [["policy"]]
    assert sorted(envoy.received) == ["hauberk-revoked", "hauberk-revoked-tcp"]
    plane.tell(extension("policy"), nonce="e1")
    envoy.answer()
    assert envoy.received[-1] == "policy"
    assert plane.answers() == {"e1": ""}


def test_a_configuration_that_the_control_plane_has_not_told_yet_is_not_taken_away(relay: Relay) -> None:
    relay.set_revoked(revoked())
    envoy = FakeEnvoy(relay, held={EXTENSION: {"policy": "1"}})
    envoy.ask(EXTENSION, ("hauberk-revoked", "policy"))
    envoy.answer()
    assert envoy.held[EXTENSION]["policy"] == "1"


def test_a_policy_that_envoy_refuses_does_not_keep_it_from_proving_its_certificate(relay: Relay) -> None:
    plane, made = FakeControlPlane(relay), secrets()
    configure(relay, plane)
    relay.set_secrets(made)
    relay.set_revoked(revoked())
    envoy = FakeEnvoy(relay, refuses=("policy",))
    envoy.start()
    envoy.ask(EXTENSION, ("hauberk-revoked", "policy"))
    plane.tell(extension("policy"), nonce="e1")
    envoy.answer()
    assert plane.answers()["e1"] == "policy: bad"
    assert relay.acknowledged is made
    assert [rejection.name for rejection in relay.rejections] == ["policy"]


def routes(name: str, host: str = "") -> Resource:
    return Resource.of(RouteConfiguration(name=name, virtual_hosts=[VirtualHost(name=host, domains=["*"])] if host else []), name)


@pytest.mark.parametrize(("name", "decides"), [("inbound|8080||", True), ("InboundPassthroughCluster", True), ("80", False)])
def test_another_route_to_the_program_is_another_rule_for_what_is_open(relay: Relay, name: str, decides: bool) -> None:
    plane = FakeControlPlane(relay)
    configure(relay, plane)
    envoy = FakeEnvoy(relay)
    envoy.start()
    envoy.ask(ROUTES, (name,))
    plane.tell(routes(name), nonce="r1")
    assert relay.connections_rule is None, "Envoy has not answered"
    envoy.answer()
    before = relay.connections_rule
    plane.tell(routes(name, "another"), nonce="r2")
    envoy.answer()
    assert before is not None
    assert (relay.connections_rule != before) is decides
