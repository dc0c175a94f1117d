"""Whether an open connection may go on, by the policies and modes of a snapshot."""

import pytest
from tests.unit.mesh.mesh_objects import key, mtls, pod, policy, service

from hauberk.api.metadata import ApiObject
from hauberk.mesh.snapshot import build_snapshot
from hauberk.pilot.judgement import OpenConnection, UpgradedRequest, judge

ALICE, BOB = (f"spiffe://cluster.local/ns/shop/sa/{name}" for name in ("alice", "bob"))


CHAT = UpgradedRequest(method="GET", host="web", path="/chat", client="192.0.2.7")


def judged(*objects: ApiObject, of: str = "web-1", port: int = 9000, request: UpgradedRequest | None = None) -> list[bool]:
    """Of alice, of bob, and of somebody without mutual TLS."""
    snapshot = build_snapshot([service("web", {"name": "tcp", "port": 9000}), pod("web-1", app="web", ip="10.0.0.9"), *objects], None)
    asked = [
        OpenConnection(identity=who, address="10.0.0.1", destination="10.0.0.9", port=port, request=request) for who in (ALICE, BOB, None)
    ]
    return list(judge(snapshot, key("Pod", of), asked))


def test_without_policies_all_may_go_on() -> None:
    assert judged() == [True, True, True]


def test_policies_are_asked_as_for_a_new_connection() -> None:
    alice = {"from": [{"source": {"serviceAccounts": ["alice"]}}]}
    assert judged(policy("known", "ALLOW", alice)) == [True, False, False]
    assert judged(policy("not-alice", "DENY", alice)) == [False, True, True]
    assert judged(policy("other-port", "DENY", alice | {"to": [{"operation": {"ports": ["9001"]}}]})) == [True, True, True]
    assert judged(policy("http", "ALLOW", alice | {"to": [{"operation": {"methods": ["GET"]}}]})) == [False, False, False]


def test_who_connected_under_a_former_name_of_the_mesh_is_who_he_was() -> None:
    allowed = policy("known", "ALLOW", {"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/alice"]}}]})
    snapshot = build_snapshot([service("web", {"name": "tcp", "port": 9000}), pod("web-1", app="web", ip="10.0.0.9"), allowed], None)
    asked = [OpenConnection(identity="spiffe://old.example/ns/shop/sa/alice", address="10.0.0.1", destination="10.0.0.9", port=9000)]
    assert judge(snapshot, key("Pod", "web-1"), asked) == (False,)
    assert judge(snapshot, key("Pod", "web-1"), asked, ("old.example", "cluster.local")) == (True,)


def test_strict_takes_nobody_without_mutual_tls() -> None:
    assert judged(mtls("all", "STRICT")) == [True, True, False]
    assert judged(mtls("all", "STRICT"), port=1) == [True, True, False]
    own = mtls("web", "STRICT", selector={"matchLabels": {"app": "web"}}, portLevelMtls={9000: {"mode": "PERMISSIVE"}})
    assert judged(own) == [True, True, True]


def test_connections_of_a_pod_that_is_gone_are_left_alone() -> None:
    assert judged(mtls("all", "STRICT"), policy("nobody", "ALLOW"), of="gone") == [True, True, True]


@pytest.mark.parametrize(
    ("operation", "matches"),
    [
        ({"paths": ["/chat"]}, True),
        ({"paths": ["/other"]}, False),
        ({"methods": ["GET"], "hosts": ["web"]}, True),
        ({"notPaths": ["/chat"]}, False),
        ({"ports": ["9000"]}, True),
        ({"ports": ["9001"]}, False),
    ],
)
def test_an_upgraded_request_is_judged_as_the_request_that_it_was(operation: dict[str, list[str]], matches: bool) -> None:
    rule = {"from": [{"source": {"serviceAccounts": ["alice"]}}], "to": [{"operation": operation}]}
    assert judged(policy("known", "ALLOW", rule), request=CHAT) == [matches, False, False]
    assert judged(policy("not", "DENY", rule), request=CHAT) == [not matches, True, True]


def test_an_upgraded_request_is_asked_for_the_client_that_trusted_hops_name() -> None:
    assert judged(policy("place", "DENY", {"from": [{"source": {"remoteIpBlocks": ["192.0.2.0/24"]}}]}), request=CHAT) == [False] * 3
    assert judged(policy("place", "DENY", {"from": [{"source": {"ipBlocks": ["192.0.2.0/24"]}}]}), request=CHAT) == [True] * 3


UNKNOWN = [
    {"when": [{"key": "request.headers[x-team]", "values": ["red"]}]},
    {"when": [{"key": "request.auth.claims[group]", "values": ["red"]}]},
    {"from": [{"source": {"requestPrincipals": ["*"]}}]},
    {"from": [{"source": {"notRequestPrincipals": ["*"]}}]},
]


@pytest.mark.parametrize("rule", UNKNOWN)
def test_what_nobody_has_kept_of_a_request_is_not_held_against_it(rule: dict[str, object]) -> None:
    assert judged(policy("unknown", "ALLOW", rule), request=CHAT) == [True] * 3
    assert judged(policy("unknown", "DENY", rule), request=CHAT) == [True] * 3


def test_what_is_refused_whatever_is_unknown_is_refused() -> None:
    team = {"when": [{"key": "request.headers[x-team]", "values": ["red"]}]}
    alice, bob = ({"source": {"serviceAccounts": [name]}} for name in ("alice", "bob"))
    assert judged(policy("alice", "ALLOW", team | {"from": [alice]}), request=CHAT) == [True, False, False]
    either = {"from": [alice, {"source": {"requestPrincipals": ["*"]}}]}
    assert judged(policy("either", "DENY", either), request=CHAT) == [False, True, True]
    assert judged(policy("two", "DENY", team | {"from": [alice]}, {"from": [bob]}), request=CHAT) == [True, False, True]


def test_a_path_that_was_too_long_to_be_kept_is_unknown() -> None:
    long = UpgradedRequest(method="GET", host="web")
    to = {"to": [{"operation": {"paths": ["/chat"]}}]}
    assert judged(policy("chat", "ALLOW", to), request=long) == judged(policy("chat", "DENY", to), request=long) == [True] * 3


def test_strict_ends_upgraded_requests_without_mutual_tls_too() -> None:
    assert judged(mtls("all", "STRICT"), request=CHAT) == [True, True, False]
