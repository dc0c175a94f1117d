from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from google.rpc.status_pb2 import Status
from tests.unit.xds.envoys import SimulatedEnvoy, cluster, converse, decode, endpoints, listener, names_in, routes

from hauberk.xds.layers import Layer, ResourceSet
from hauberk.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, Resource
from hauberk.xds.session import DeltaSession
from hauberk.xds.update import Update

Resources = tuple[Resource, ...]
WEB: Resources = (cluster("web"), endpoints("web"), listener("80", "http"), routes("http", "web"))


def resource_set(*resources: Resource, revision: int = 1) -> ResourceSet:
    return ResourceSet((Layer.of("all", resources),), revision)


def ask(session: DeltaSession, type_url: str, *names: str, held: dict[str, str] | None = None) -> tuple[Update, ...]:
    return session.on_request(
        DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names, initial_resource_versions=held or {})
    )


def acknowledge(session: DeltaSession, update: Update) -> tuple[Update, ...]:
    return session.on_request(DeltaDiscoveryRequest(type_url=update.type_url, response_nonce=update.nonce))


def refuse(session: DeltaSession, update: Update, message: str) -> tuple[Update, ...]:
    detail = Status(code=3, message=message)
    return session.on_request(DeltaDiscoveryRequest(type_url=update.type_url, response_nonce=update.nonce, error_detail=detail))


def told(updates: tuple[Update, ...]) -> list[tuple[str, list[str], list[str]]]:
    return [(update.type_url, names_in(update), list(decode(update).removed_resources)) for update in updates]


def running(*resources: Resource) -> tuple[SimulatedEnvoy, DeltaSession]:
    envoy, session = SimulatedEnvoy(), DeltaSession()
    session.on_resources(resource_set(*resources))
    converse(envoy, session)
    assert session.synced
    return envoy, session


def test_a_first_request_without_names_asks_for_all_clusters() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(cluster("a"), cluster("b")))
    assert told(ask(session, CLUSTER)) == [(CLUSTER, ["a", "b"], [])]


def test_a_first_request_without_names_asks_for_no_endpoints() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(endpoints("a")))
    assert ask(session, ENDPOINTS) == ()


def test_nothing_is_said_before_there_are_resources() -> None:
    session = DeltaSession()
    assert ask(session, CLUSTER) == ()
    assert told(session.on_resources(resource_set(cluster("a")))) == [(CLUSTER, ["a"], [])]


def test_a_star_asks_for_all_after_a_reconnect() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(cluster("a"), cluster("b")))
    held = {"a": cluster("a").version, "gone": "1"}
    assert told(ask(session, CLUSTER, "*", "a", held=held)) == [(CLUSTER, ["b"], [])]


def test_a_proxy_that_holds_everything_is_told_nothing_by_a_new_control_plane() -> None:
    envoy, _ = running(*WEB)
    session = DeltaSession()
    session.on_resources(resource_set(*WEB, revision=7))
    envoy.connect()
    assert converse(envoy, session) == []
    assert session.synced
    assert session.acknowledged == 7


def test_a_star_may_come_later_and_go_again() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(cluster("a"), cluster("b")))
    (first,) = ask(session, CLUSTER, "a")
    acknowledge(session, first)
    (second,) = ask(session, CLUSTER, "*")
    assert names_in(second) == ["b"]
    acknowledge(session, second)
    assert session.on_request(DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_unsubscribe=["*"])) == ()
    assert told(session.on_resources(resource_set(cluster("a"), cluster("b", "2"), cluster("c")))) == []


def test_a_name_dropped_while_everything_is_wanted_is_confirmed() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(cluster("a")))
    (first,) = ask(session, CLUSTER, "*", "a", "od")
    assert told((first,)) == [(CLUSTER, ["a"], ["od"])]
    acknowledge(session, first)
    again = session.on_request(DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_unsubscribe=["a", "od"]))
    assert told(again) == [(CLUSTER, ["a"], ["od"])]


def test_a_name_that_does_not_exist_is_answered_and_told_when_it_does() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(endpoints("a")))
    (answer,) = ask(session, ENDPOINTS, "a", "b")
    assert told((answer,)) == [(ENDPOINTS, ["a"], ["b"])]
    acknowledge(session, answer)
    assert told(session.on_resources(resource_set(endpoints("a"), endpoints("b")))) == [(ENDPOINTS, ["b"], [])]


def test_a_relay_does_not_deny_what_it_does_not_know() -> None:
    session = DeltaSession()
    layer = Layer.of("relay", [endpoints("a")])
    session.on_resources(ResourceSet((layer,), partial=True))
    (answer,) = ask(session, ENDPOINTS, "a", "b", "c")
    assert told((answer,)) == [(ENDPOINTS, ["a"], [])]
    acknowledge(session, answer)
    later = session.on_resources(ResourceSet((layer,), partial=True, absent={ENDPOINTS: frozenset({"b"})}))
    assert told(later) == [(ENDPOINTS, [], ["b"])]


def test_a_relay_that_lost_its_cache_takes_nothing_away_until_it_knows() -> None:
    session = DeltaSession()
    session.on_resources(ResourceSet(partial=True))
    assert ask(session, CLUSTER, "*", held={"a": cluster("a").version, "b": "1"}) == ()
    layer = Layer.of("relay", [cluster("a")])
    assert session.on_resources(ResourceSet((layer,), partial=True, complete=frozenset({CLUSTER}))) == ()
    assert told(session.on_silence()) == [(CLUSTER, [], ["b"])]


def test_a_name_asked_for_again_is_told_again() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(endpoints("a")))
    (first,) = ask(session, ENDPOINTS, "a")
    acknowledge(session, first)
    assert told(ask(session, ENDPOINTS, "a")) == [(ENDPOINTS, ["a"], [])]


def test_only_what_changed_and_is_wanted_is_told() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(endpoints("a"), endpoints("b"), endpoints("c")))
    (first,) = ask(session, ENDPOINTS, "a", "b")
    acknowledge(session, first)
    assert told(session.on_resources(resource_set(endpoints("a"), endpoints("b", "2"), endpoints("c", "2")))) == [(ENDPOINTS, ["b"], [])]


def test_changes_while_an_answer_is_awaited_are_told_as_one() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(endpoints("a")))
    (first,) = ask(session, ENDPOINTS, "a")
    for version in "23456789":
        assert session.on_resources(resource_set(endpoints("a", version))) == ()
    (last,) = acknowledge(session, first)
    assert decode(last).resources[0].version == endpoints("a", "9").version


def test_a_change_taken_back_meanwhile_is_not_told_at_all() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(endpoints("a")))
    (first,) = ask(session, ENDPOINTS, "a")
    session.on_resources(resource_set(endpoints("a", "2")))
    session.on_resources(resource_set(endpoints("a"), revision=3))
    assert acknowledge(session, first) == ()
    assert session.settled(ENDPOINTS)


def test_an_answer_to_an_older_response_counts_for_nothing() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(endpoints("a")))
    ask(session, ENDPOINTS, "a")
    session.on_request(DeltaDiscoveryRequest(type_url=ENDPOINTS, response_nonce="of another time"))
    assert not session.settled(ENDPOINTS)


def test_routes_to_a_new_cluster_wait_until_it_takes_traffic() -> None:
    _, session = running(*WEB)
    changed = (*WEB[:3], routes("http", "web", "api"), cluster("api"), endpoints("api"))
    (clusters,) = session.on_resources(resource_set(*changed))
    assert told((clusters,)) == [(CLUSTER, ["api"], [])]
    assert acknowledge(session, clusters) == ()
    (filled,) = ask(session, ENDPOINTS, "api")
    assert told(acknowledge(session, filled)) == [(ROUTES, ["http"], [])]


def test_a_cluster_goes_after_the_routes_that_named_it() -> None:
    _, session = running(*WEB, cluster("old"), endpoints("old"))
    (rerouted,) = session.on_resources(resource_set(*WEB[:3], routes("http", "web", version="2")))
    assert told((rerouted,)) == [(ROUTES, ["http"], [])]
    (gone,) = acknowledge(session, rerouted)
    assert told((gone,)) == [(CLUSTER, [], ["old"])]
    assert told(acknowledge(session, gone)) == [(ENDPOINTS, [], ["old"])]


def test_a_reconnected_proxy_keeps_its_clusters_until_its_listeners_and_routes_are_known() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(*WEB))
    assert ask(session, CLUSTER, "*", held={"web": WEB[0].version, "old": "1"}) == ()
    assert ask(session, LISTENER, "*", held={"80": WEB[2].version}) == ()
    (rerouted,) = ask(session, ROUTES, "http", held={"http": "1"})
    assert told((rerouted,)) == [(ROUTES, ["http"], [])]
    (gone,) = acknowledge(session, rerouted)
    assert told((gone,)) == [(CLUSTER, [], ["old"])]


def test_a_proxy_that_refused_a_route_keeps_the_clusters_of_its_last_good_one() -> None:
    _, session = running(*WEB, cluster("new"), endpoints("new"))
    target = resource_set(listener("80", "http"), routes("http", "new", version="bad"), cluster("new"), endpoints("new"), revision=2)
    (rerouted,) = session.on_resources(target)
    assert refuse(session, rerouted, "http: bad") == ()
    assert session.synced
    (better,) = session.on_resources(resource_set(listener("80", "http"), routes("http", "new"), cluster("new"), endpoints("new")))
    (gone,) = acknowledge(session, better)
    assert told((gone,)) == [(CLUSTER, [], ["web"])]


def test_a_cluster_that_comes_back_before_it_was_taken_away_is_not_told_again() -> None:
    _, session = running(*WEB, cluster("old"), endpoints("old"))
    (rerouted,) = session.on_resources(resource_set(*WEB[:3], routes("http", "web", version="2")))
    session.on_resources(resource_set(*WEB[:3], routes("http", "web", version="2"), cluster("old"), endpoints("old")))
    assert acknowledge(session, rerouted) == ()
    assert session.synced


def test_endpoints_are_told_again_right_after_their_cluster_changed() -> None:
    _, session = running(*WEB)
    updates = session.on_resources(resource_set(cluster("web", "2"), *WEB[1:]))
    assert told(updates) == [(CLUSTER, ["web"], []), (ENDPOINTS, ["web"], [])]


def test_an_endpoint_change_is_endpoints_only_and_holds_up_nothing() -> None:
    _, session = running(*WEB)
    updates = session.on_resources(resource_set(WEB[0], endpoints("web", "2"), WEB[2], routes("http", "web", version="2")))
    assert told(updates) == [(ENDPOINTS, ["web"], []), (ROUTES, ["http"], [])]


def test_a_proxy_that_never_asks_for_endpoints_is_not_waited_for_for_ever() -> None:
    _, session = running(*WEB)
    (clusters,) = session.on_resources(resource_set(*WEB[:3], routes("http", "web", "api"), cluster("api"), endpoints("api")))
    acknowledge(session, clusters)
    assert session.waiting
    assert told(session.on_silence()) == [(ROUTES, ["http"], [])]


def test_a_listener_counts_as_acknowledged_only_with_its_routes() -> None:
    _, session = running(*WEB)
    (update,) = session.on_resources(resource_set(*WEB, listener("81", "more"), routes("more", "web"), revision=2))
    acknowledge(session, update)
    assert not session.synced
    (more,) = ask(session, ROUTES, "more")
    acknowledge(session, more)
    assert session.acknowledged == 2


def test_a_refused_resource_is_remembered_with_its_object_and_not_told_again() -> None:
    _, session = running(*WEB)
    (update, _) = session.on_resources(resource_set(cluster("web", "2"), *WEB[1:], cluster("webs"), revision=2))
    assert refuse(session, update, "Error adding/updating cluster(s) webs: no such thing") == ()
    (rejection,) = session.rejections
    assert (rejection.name, rejection.origins) == ("webs", ("Service/shop/webs",))
    assert session.on_resources(resource_set(cluster("web", "2"), *WEB[1:], cluster("webs"), revision=3)) == ()


def test_a_refusal_that_names_nothing_is_remembered_as_such() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(cluster("a"), cluster("b")))
    (update,) = ask(session, CLUSTER)
    refuse(session, update, "out of memory")
    assert [(r.name, r.message) for r in session.rejections] == [("", "out of memory")]


def test_a_refusal_ends_when_another_version_is_accepted() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(cluster("a", "bad")))
    (update,) = ask(session, CLUSTER)
    refuse(session, update, "a: bad")
    (better,) = session.on_resources(resource_set(cluster("a", "2")))
    acknowledge(session, better)
    assert session.rejections == ()


def test_a_refusal_ends_when_the_resource_goes() -> None:
    session = DeltaSession()
    session.on_resources(resource_set(cluster("a", "bad"), cluster("b")))
    (update,) = ask(session, CLUSTER)
    refuse(session, update, "a: bad")
    session.on_resources(resource_set(cluster("b")))
    assert session.rejections == ()


def test_a_reconnected_proxy_is_not_told_what_it_refused_before() -> None:
    first = DeltaSession()
    first.on_resources(resource_set(cluster("a", "bad"), cluster("b")))
    (update,) = ask(first, CLUSTER)
    refuse(first, update, "a: bad")
    second = DeltaSession(rejections=first.rejections)
    second.on_resources(resource_set(cluster("a", "bad"), cluster("b")))
    assert ask(second, CLUSTER, "*", held={"b": cluster("b").version}) == ()
    assert [r.name for r in second.rejections] == ["a"]


def test_a_restarted_proxy_is_told_everything_and_decides_anew() -> None:
    first = DeltaSession()
    first.on_resources(resource_set(cluster("a", "bad")))
    (update,) = ask(first, CLUSTER)
    refuse(first, update, "a: bad")
    second = DeltaSession(rejections=first.rejections)
    second.on_resources(resource_set(cluster("a", "bad")))
    assert told(ask(second, CLUSTER)) == [(CLUSTER, ["a"], [])]
    assert second.rejections == ()


def test_a_resource_that_moves_to_another_layer_is_neither_removed_nor_told_again() -> None:
    session = DeltaSession()
    session.on_resources(ResourceSet((Layer.of("one", [cluster("a"), cluster("b")]), Layer.of("two", [cluster("c")]))))
    (first,) = ask(session, CLUSTER)
    acknowledge(session, first)
    moved = ResourceSet((Layer.of("one", [cluster("a")]), Layer.of("two", [cluster("b"), cluster("c")])), 2)
    assert session.on_resources(moved) == ()
    assert session.synced


def test_secrets_are_told_whatever_clusters_wait_for() -> None:
    session = DeltaSession()
    secret = Resource(SECRET, "default", "1", b"\x1a\x07default")
    session.on_resources(resource_set(*WEB, secret))
    ask(session, CLUSTER)
    assert [update.type_url for update in ask(session, SECRET, "default")] == [SECRET]
    assert ask(session, LISTENER) == ()


def test_a_thousand_proxies_are_sent_the_same_bytes() -> None:
    pairs = [running(*WEB) for _ in range(3)]
    shared = Layer.of("all", WEB)
    for envoy, session in pairs:
        converse(envoy, session, session.on_resources(ResourceSet((shared,), 2)))
    changed = ResourceSet((Layer.of("all", (WEB[0], endpoints("web", "2"), *WEB[2:]), shared),), 3)
    sent = {id(update.encode()) for _, session in pairs for update in session.on_resources(changed)}
    assert len(sent) == 1
