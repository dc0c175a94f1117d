"""Whether an open connection may go on, by the policies and modes of a snapshot."""

from tests.unit.mesh.mesh_objects import key, mtls, pod, policy, service

from hauberk.api.metadata import ApiObject
from hauberk.mesh.snapshot import build_snapshot
from hauberk.pilot.judgement import OpenConnection, judge

ALICE, BOB = (f"spiffe://cluster.local/ns/shop/sa/{name}" for name in ("alice", "bob"))


def judged(*objects: ApiObject, of: str = "web-1", port: int = 9000) -> list[bool]:
    """Of alice, of bob, and of somebody without mutual TLS."""
    snapshot = build_snapshot([service("web", {"name": "tcp", "port": 9000}), pod("web-1", app="web", ip="10.0.0.9"), *objects], None)
    asked = [OpenConnection(identity=who, address="10.0.0.1", destination="10.0.0.9", port=port) for who in (ALICE, BOB, None)]
    return list(judge(snapshot, key("Pod", of), asked))


def test_without_policies_all_may_go_on() -> None:
    assert judged() == [True, True, True]


def test_policies_are_asked_as_for_a_new_connection() -> None:
    alice = {"from": [{"source": {"serviceAccounts": ["alice"]}}]}
    assert judged(policy("known", "ALLOW", alice)) == [True, False, False]
    assert judged(policy("not-alice", "DENY", alice)) == [False, True, True]
    assert judged(policy("other-port", "DENY", alice | {"to": [{"operation": {"ports": ["9001"]}}]})) == [True, True, True]
    assert judged(policy("http", "ALLOW", alice | {"to": [{"operation": {"methods": ["GET"]}}]})) == [False, False, False]


def test_strict_takes_nobody_without_mutual_tls() -> None:
    assert judged(mtls("all", "STRICT")) == [True, True, False]
    assert judged(mtls("all", "STRICT"), port=1) == [True, True, False]
    own = mtls("web", "STRICT", selector={"matchLabels": {"app": "web"}}, portLevelMtls={9000: {"mode": "PERMISSIVE"}})
    assert judged(own) == [True, True, True]


def test_connections_of_a_pod_that_is_gone_are_left_alone() -> None:
    assert judged(mtls("all", "STRICT"), policy("nobody", "ALLOW"), of="gone") == [True, True, True]
