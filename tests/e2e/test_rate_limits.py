"""RateLimitPolicies on a real Envoy: who is counted together, what a caller is told, and what is recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.envoy_rig import Answer, RigPod, eventually, rig
from tests.e2e.envoy_rig_mesh import VIP, Mesh, caller, mode, policy
from tests.e2e.envoy_rig_programs import request_http2
from tests.e2e.envoy_rig_server import NAMESPACE
from tests.unit.policy.jwt_cases import authentications, says, token

from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.telemetry.decision import read_decision
from hauberk.telemetry.record import Outcome, RuleName, Verdict

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")

HOUR = {"per": "hour"}


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rig() as made:
        visitor = made.pod("visitor", namespace="bank")
        found = Mesh(made)
        assert visitor.envoy is not None
        yield found


def limits(*entries: dict[str, Any], name: str = "web", tried: bool = False, **spec: Any) -> RateLimitPolicy:
    named = [{"name": f"limit-{number}", **entry} for number, entry in enumerate(entries)]
    return RateLimitPolicy.model_validate(
        {
            "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {"istio.io/dry-run": "true"} if tried else {}},
            "spec": {**(spec or {"selector": {"matchLabels": {"app": "web"}}}), "limits": named},
        }
    )


def ask(pod: RigPod, path: str = "/", method: str = "GET", host: str = "web", **headers: str) -> Answer:
    return pod.request(VIP, 80, path, method=method, host=host, headers=headers)


def statuses(pod: RigPod, count: int, path: str = "/", **rest: str) -> list[int]:
    return [ask(pod, path, **rest).status for _ in range(count)]


def test_a_caller_beyond_the_limit_is_told_when_to_come_back(mesh: Mesh) -> None:
    with mesh.having(limits({"requests": 3, **HOUR})):
        allowed = [ask(mesh.client, "/told") for _ in range(3)]
        assert [each.status for each in allowed] == [200] * 3
        assert [each.headers["ratelimit-remaining"] for each in allowed] == ["2", "1", "0"]
        before = len(mesh.connections)
        refused = ask(mesh.client, "/refused")
        assert (refused.status, refused.body) == (429, b"local_rate_limited")
        # One token of three comes back in a third of an hour.
        assert 1 <= int(refused.headers["retry-after"]) <= 1200
        told = {name: refused.headers[name] for name in ("ratelimit-limit", "ratelimit-remaining", "x-ratelimit-limit")}
        assert told == {"ratelimit-limit": "3", "ratelimit-remaining": "0", "x-ratelimit-limit": "3"}
        assert refused.headers["ratelimit-reset"] == refused.headers["retry-after"] == refused.headers["x-ratelimit-reset"]
        assert len(mesh.connections) == before
        record = mesh.web.record(p="/refused")
        assert (record["f"], record["x"], record["s"]) == ("RL", "local_rate_limited", 429)
        assert read_decision(record).outcome == Outcome(verdict=Verdict.DENY, rule=RuleName(f"{NAMESPACE}/web"), reason="rate limit")


def test_what_no_limit_counts_is_told_nothing(mesh: Mesh) -> None:
    with mesh.having(limits({"requests": 1, **HOUR, "match": {"paths": ["/other"]}})):
        answer = ask(mesh.client, "/free")
        assert answer.status == 200
        assert not [name for name in answer.headers if "ratelimit" in name]


def test_a_path_that_can_be_read_in_two_ways_is_no_way_around_a_limit(mesh: Mesh) -> None:
    with mesh.having(limits({"requests": 1, **HOUR, "match": {"methods": ["POST"], "paths": ["/login"]}})):
        assert statuses(mesh.client, 2, "/login", method="POST") == [200, 429]
        for path in ("//login", "/login;x", "/%2flogin", "/login%3bx"):
            assert statuses(mesh.client, 1, path, method="POST") == [403]
    # Where no limit asks about paths they are the program's own affair.
    with mesh.having(limits({"requests": 1, **HOUR, "by": ["source.principal"]})):
        assert statuses(mesh.client, 2, "//login", method="POST") == [200, 429]


def test_tokens_come_back_and_a_burst_is_what_may_come_at_once(mesh: Mesh) -> None:
    with mesh.having(limits({"requests": 1, "per": "200ms", "burst": 4})):
        assert 429 in (first := statuses(mesh.client, 40))
        assert first[:4] == [200] * 4
        eventually(lambda: ask(mesh.client).status == 200)


def test_each_identity_and_each_namespace_has_its_own_bucket(mesh: Mesh) -> None:
    by_principal = {"requests": 1, **HOUR, "by": ["source.principal"], "match": {"paths": ["/principal"]}}
    by_namespace = {"requests": 2, **HOUR, "by": ["source.namespace"], "match": {"paths": ["/namespace"]}}
    visitor = mesh.rig.pods["visitor"]
    with mesh.having(limits(by_principal, by_namespace)):
        for pod in (mesh.client, mesh.other, visitor):
            assert statuses(pod, 2, "/principal") == [200, 429]
        # Whoever says that it is somebody else is not believed.
        assert [
            ask(pod, "/namespace", **{"x-hauberk-caller": "spiffe://cluster.local/ns/x/sa/x"}).status for pod in (mesh.client, mesh.other)
        ] == [
            200,
            200,
        ]
        assert statuses(mesh.client, 1, "/namespace") == [429]
        assert statuses(visitor, 3, "/namespace") == [200, 200, 429]


def test_callers_without_an_identity_share_one_bucket(mesh: Mesh) -> None:
    address = mesh.web.addresses[0]
    with mesh.having(mode("all", NAMESPACE, mtls={"mode": "PERMISSIVE"}), limits({"requests": 1, **HOUR, "by": ["source.principal"]})):
        assert [mesh.outside.request(address, 8080, host="web").status for _ in range(2)] == [200, 429]
        assert ask(mesh.client).status == 200


def test_each_value_of_a_header_has_its_own_bucket_and_having_none_is_one(mesh: Mesh) -> None:
    with mesh.having(limits({"requests": 1, **HOUR, "by": ["request.headers[X-Tenant]"]})):
        for headers in ({"x-tenant": "a"}, {"x-tenant": "b"}, {}, {"x-tenant": "%REQ(host)%"}):
            assert statuses(mesh.client, 2, **headers) == [200, 429]
        # Which a program could take for the one that was counted.
        assert statuses(mesh.client, 1, **{"x_tenant": "c"}) == [429]


def test_end_users_are_told_apart_by_what_their_verified_tokens_say(mesh: Mesh) -> None:
    def as_user(**claims: object) -> dict[str, str]:
        return {"authorization": f"Bearer {token(says(**claims))}"}

    by_subject = {"requests": 1, **HOUR, "by": ["request.auth.principal"], "match": {"paths": ["/user"]}}
    by_groups = {"requests": 1, **HOUR, "by": ["request.auth.claims[groups]"], "match": {"paths": ["/groups"]}}
    with mesh.having(limits(by_subject, by_groups), *authentications("one", outputs=False)):
        for user in (as_user(sub="joe"), as_user(sub="jane"), {}):
            assert statuses(mesh.client, 2, "/user", **user) == [200, 429]
        for user in (as_user(groups=["a"]), as_user(groups=["a", "b"]), as_user(groups=...), as_user(groups="a")):
            first, second = statuses(mesh.client, 2, "/groups", **user)
            assert (first, second) == (200, 429), user
        # A token that nobody has verified counts for nobody.
        assert statuses(mesh.client, 1, "/user", authorization=f"Bearer {token(says(sub='joe'))}x") == [401]


def test_parts_of_the_request_tell_requests_apart(mesh: Mesh) -> None:
    by = [
        "request.path",
        "request.method",
        "request.host",
        "source.ip",
        "remote.ip",
        "request.auth.principal",
        "request.auth.claims[a][b c]",
    ]
    with mesh.having(limits({"requests": 1, **HOUR, "by": by})):
        assert [ask(mesh.client, f"/apart?{n}").status for n in range(2)] == [200, 429]
        assert ask(mesh.client, "/another").status == 200
        assert ask(mesh.client, "/apart", "POST").status == 200
        assert ask(mesh.client, "/apart", host=f"web.{NAMESPACE}").status == 200
        # Nobody is believed about another's address.
        assert ask(mesh.client, "/apart", **{"x-forwarded-for": "1.2.3.4"}).status == 429
        assert ask(mesh.other, "/apart").status == 200


@pytest.mark.parametrize(
    ("match", "counted", "free"),
    [
        ({"paths": ["/a", "/b/*"]}, [("/a?x", {}), ("/b/c", {})], [("/ab", {}), ("/b", {})]),
        ({"paths": ["/t/{*}/x"]}, [("/t/1/x", {})], [("/t/1/2/x", {}), ("/t/x", {})]),
        ({"notPaths": ["/health"]}, [("/a", {})], [("/health", {}), ("/health?full", {})]),
        (
            {"methods": ["POST"], "hosts": ["WEB"]},
            [("/", {"method": "POST", "host": "web:80"})],
            [("/", {}), ("/", {"method": "POST", "host": VIP})],
        ),
        ({"notMethods": ["GET"]}, [("/", {"method": "PUT"})], [("/", {})]),
        ({"headers": [{"name": "X-T", "values": ["a*"]}]}, [("/", {"x-t": "ab"})], [("/", {}), ("/", {"x-t": "b"})]),
        ({"headers": [{"name": "x-t", "notValues": ["a"]}]}, [("/", {}), ("/", {"x-t": "b"})], [("/", {"x-t": "a"})]),
        ({"headers": [{"name": "x-t", "notValues": ["*"]}]}, [("/", {})], [("/", {"x-t": "a"})]),
        ({"headers": [{"name": "x-t", "values": ["*"]}]}, [("/", {"x-t": "a"})], [("/", {})]),
    ],
)
def test_only_what_a_limit_matches_is_counted(
    mesh: Mesh, match: dict[str, Any], counted: list[tuple[str, dict[str, str]]], free: list[tuple[str, dict[str, str]]]
) -> None:
    with mesh.having(limits({"requests": len(counted), **HOUR, "match": match})):
        assert [ask(mesh.client, path, **how).status for path, how in free] == [200] * len(free)
        assert [ask(mesh.client, path, **how).status for path, how in (*counted, counted[0])] == [*[200] * len(counted), 429]
        assert [ask(mesh.client, path, **how).status for path, how in free] == [200] * len(free)


def test_however_many_values_a_limit_has_what_is_denied_later_is_denied(mesh: Mesh) -> None:
    paths = [f"/api/v1/resource-{number:05}/item" for number in range(20_000)]
    hosts = [*(f"*h{number}.example.com" for number in range(5000)), *(letter * 4000 for letter in "sk"), "web"]
    large = limits({"requests": 1, **HOUR, "match": {"paths": paths, "hosts": hosts, "notHosts": hosts[:-1]}})
    with mesh.having(large):
        assert statuses(mesh.client, 2, paths[-1]) == [200, 429]
        assert statuses(mesh.client, 2, "/free") == [200, 200]
        with mesh.having(policy("nobody", "DENY", {})):
            assert statuses(mesh.client, 1, "/free") == [403]


def test_every_limit_of_every_policy_holds(mesh: Mesh) -> None:
    of_service = limits(
        {"requests": 2, **HOUR, "match": {"paths": ["/b"]}}, name="service", targetRefs=[{"kind": "Service", "name": "web"}]
    )
    with mesh.having(limits({"requests": 1, **HOUR, "match": {"paths": ["/a"]}}, {"requests": 4, **HOUR}), of_service):
        assert statuses(mesh.client, 2, "/a") == [200, 429]
        assert statuses(mesh.client, 3, "/b") == [200, 200, 429]
        # The two that were refused have taken nothing from the largest.
        assert statuses(mesh.client, 2, "/c") == [200, 429]


def test_what_policy_denies_is_not_counted(mesh: Mesh) -> None:
    with mesh.having(limits({"requests": 1, **HOUR}), policy("not-other", "DENY", caller("other"))):
        assert statuses(mesh.other, 3) == [403] * 3
        assert statuses(mesh.client, 2) == [200, 429]


def test_a_policy_in_dry_run_refuses_nothing_and_is_recorded(mesh: Mesh) -> None:
    with mesh.having(limits({"requests": 1, **HOUR}, name="next", tried=True)):
        answers = [ask(mesh.client, f"/tried/{number}") for number in range(2)]
        assert [each.status for each in answers] == [200, 200]
        assert not [name for each in answers for name in (*each.headers, *each.echo["headers"]) if "rate" in name]
        tried = [read_decision(mesh.web.record(p=f"/tried/{number}")).dry_run for number in range(2)]
        assert tried == [None, Outcome(verdict=Verdict.DENY, rule=RuleName(f"{NAMESPACE}/next"))]


def test_a_change_holds_for_the_next_request_of_an_open_connection(mesh: Mesh) -> None:
    with mesh.client.connect(VIP, 80) as connection:

        def status() -> bytes:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            return connection.recv(65536)[9:12]

        assert status() == b"200"
        with mesh.having(limits({"requests": 1, **HOUR})):
            assert [status(), status()] == [b"200", b"429"]
        assert status() == b"200"


def test_a_grpc_call_is_told_in_its_own_words(mesh: Mesh) -> None:
    with mesh.having(limits({"requests": 1, **HOUR})):
        answers = []
        for _ in range(2):
            with mesh.client.connect(VIP, 83) as connection:
                answers.append(request_http2(connection, "web", "/p.S/M", {"content-type": "application/grpc", "te": "trailers"}))
        assert [each.headers.get("grpc-status") for each in answers] == [None, "8"]  # RESOURCE_EXHAUSTED


def test_memory_stays_bounded_whatever_callers_send(mesh: Mesh) -> None:
    def allocated() -> int:
        return int(json.loads(mesh.web.admin("/memory"))["allocated"])

    def flood(first: int, count: int) -> None:
        padding = "x" * 2000
        with mesh.client.connect(VIP, 80) as connection:
            answers = connection.makefile("rb")
            for number in range(first, first + count):
                connection.sendall(f"HEAD / HTTP/1.1\r\nHost: web\r\nx-tenant: {number}{padding}\r\n\r\n".encode())
                assert answers.readline().startswith(b"HTTP/1.1 200")
                while answers.readline().strip():
                    pass

    with mesh.having(limits({"requests": 1, **HOUR, "by": ["request.headers[x-tenant]"]})):
        flood(0, 1100)  # every bucket that there can be is in use
        before = allocated()
        flood(1100, 1100)
        assert allocated() - before < 512 * 1024
