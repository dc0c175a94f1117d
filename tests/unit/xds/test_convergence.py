"""Whatever happens in whatever order, an Envoy ends with the server's latest state and is told nothing twice."""

from __future__ import annotations

from collections import deque

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.xds.envoys import BAD, TYPES, SimulatedEnvoy, cluster, decode, endpoints, listener, routes

from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource
from hauberk.xds.session import DeltaSession
from hauberk.xds.update import Update

VERSIONS = st.sampled_from(["1", "2", "3", "1", "2", "3", BAD])
CLUSTERS = ("a", "b", "c", "d")
ROUTE_NAMES = ("r1", "r2", "r3")


@st.composite
def meshes(draw: st.DrawFn) -> tuple[Resource, ...]:
    """Resources that fit together: routes name clusters there are, listeners name routes there are, each route has a listener."""
    chosen = draw(st.sets(st.sampled_from(CLUSTERS)))
    made = [cluster(name, draw(VERSIONS)) for name in sorted(chosen)]
    made += [endpoints(name, draw(st.sampled_from("123"))) for name in sorted(chosen)]
    names = sorted(draw(st.sets(st.sampled_from(ROUTE_NAMES)))) if chosen else []
    for name in names:
        used = sorted(draw(st.sets(st.sampled_from(sorted(chosen)))))
        made.append(routes(name, *used, version=draw(VERSIONS)))
        made.append(listener(f"l-{name}", name, version=draw(st.sampled_from("123"))))
    return tuple(made)


class Stream(RuleBasedStateMachine):
    """One Envoy, one server, messages under way in both directions, and a network that may break at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.envoy = SimulatedEnvoy()
        self.session = DeltaSession()
        self.responses: deque[Update] = deque()
        self.layers: tuple[Layer, ...] = ()
        self.revision = 0

    @initialize(mesh=meshes())
    def start(self, mesh: tuple[Resource, ...]) -> None:
        self.push(mesh, 0)

    @rule(mesh=meshes(), cut=st.integers(0, 4))
    def push(self, mesh: tuple[Resource, ...], cut: int) -> None:
        # Names up to the cut are in one layer, the rest in another: between two pushes resources move.
        shared = [r for r in mesh if r.name[-1] < "abcde"[cut]]
        own = [r for r in mesh if r.name[-1] >= "abcde"[cut]]
        before = {layer.slot: layer for layer in self.layers}
        self.layers = (Layer.of("shared", shared, before.get("shared")), Layer.of("own", own, before.get("own")))
        self.revision += 1
        target = ResourceSet(self.layers, self.revision)
        self.envoy.forgive(target)
        self.responses.extend(self.session.on_resources(target))

    @rule(count=st.integers(1, 3))
    def envoy_reads(self, count: int) -> None:
        for _ in range(min(count, len(self.responses))):
            self.envoy.receive(decode(self.responses.popleft()))

    @rule(count=st.integers(1, 5))
    def server_reads(self, count: int) -> None:
        for _ in range(min(count, len(self.envoy.outbox))):
            self.responses.extend(self.session.on_request(self.envoy.outbox.popleft()))

    @rule()
    def reconnect(self) -> None:
        self.responses.clear()
        self.session = DeltaSession(rejections=self.session.rejections)
        self.session.on_resources(ResourceSet(self.layers, self.revision))
        self.envoy.connect()

    @rule()
    def settle(self) -> None:
        while self.responses or self.envoy.outbox:
            self.envoy_reads(3)
            self.server_reads(5)
        if self.session.waiting:
            # Envoy refused a listener or cluster, so it did not ask for what that names.
            self.responses.extend(self.session.on_silence())
            self.settle()
            return
        self.check_converged()

    @invariant()
    def at_most_one_response_of_a_type_is_outstanding(self) -> None:
        under_way = [update.type_url for update in self.responses]
        assert len(under_way) == len(set(under_way))

    def check_converged(self) -> None:
        target = ResourceSet(self.layers, self.revision)
        assert self.session.synced or LISTENER not in self.envoy.begun
        refused = {(r.type_url, r.name) for r in self.session.rejections}
        assert refused == {key for key, bad in self.envoy.refused.items() if (now := target.get(*key)) is not None and now.version == bad}
        for type_url in TYPES:
            expected = self.expected(type_url, target)
            held = {name: r.version for name, r in self.envoy.held[type_url].items() if (type_url, name) not in refused}
            wanted = {name: version for name, version in expected.items() if (type_url, name) not in refused}
            # What a refused route goes on naming is not taken away.
            surplus = held.keys() - wanted.keys() if refused and type_url in (CLUSTER, ENDPOINTS) else set()
            assert {name: version for name, version in held.items() if name not in surplus} == wanted

    def expected(self, type_url: str, target: ResourceSet) -> dict[str, str]:
        if type_url in (ENDPOINTS, ROUTES):
            wanted = self.envoy.names[type_url]
            return {r.name: r.version for r in target.of_type(type_url) if r.name in wanted}
        return {r.name: r.version for r in target.of_type(type_url) if type_url == CLUSTER or LISTENER in self.envoy.begun}

    def teardown(self) -> None:
        self.settle()


Stream.TestCase.settings = settings(max_examples=70, stateful_step_count=40, deadline=None, derandomize=True)
test_an_envoy_converges_and_is_told_nothing_twice = Stream.TestCase
