"""CUSTOM policies on a real Envoy, with authorizers by gRPC and by HTTP: what they are asked, what follows, and what if they fail."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.authorizers import CLOSE, DENY, ERROR, GARBAGE, SLOW, UNMEANT, GrpcAuthorizer, HttpAuthorizer
from tests.e2e.envoy_rig import RigPod, eventually, rig
from tests.e2e.envoy_rig_mesh import CLIENT, VIP, WEB, Mesh, denied_by, policy, service
from tests.e2e.envoy_rig_programs import WEBSOCKET
from tests.e2e.envoy_rig_server import NAMESPACE

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.config_map import ConfigMap
from hauberk.policy.decision import decide
from hauberk.policy.request import Peer, Request, Workload

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")

HOST = f"authz.{NAMESPACE}.svc.cluster.local"
BAD = "-deny-due-to-bad-CUSTOM-action"


def providers(outside: str) -> str:
    return f"""
extensionProviders:
- name: grpc
  envoyExtAuthzGrpc: {{service: {HOST}, port: 9000, timeout: 0.5s}}
- name: grpc-body
  envoyExtAuthzGrpc:
    service: {HOST}
    port: 9000
    includeRequestBodyInCheck: {{maxRequestBytes: 8, packAsBytes: true}}
- name: headless
  envoyExtAuthzGrpc: {{service: {NAMESPACE}/authz-headless.{NAMESPACE}.svc.cluster.local, port: 9000}}
- name: http
  envoyExtAuthzHttp:
    service: {HOST}
    port: 9001
    timeout: 0.5s
    pathPrefix: /check
    includeRequestHeadersInCheck: [x-in, "x-p*", "*-s"]
    includeAdditionalHeadersInCheck: {{x-share: "100%"}}
    includeRequestBodyInCheck: {{maxRequestBytes: 4, allowPartialMessage: true}}
    headersToUpstreamOnAllow: [x-user]
    headersToDownstreamOnDeny: [x-why]
    headersToDownstreamOnAllow: [x-checked]
    statusOnError: "503"
- name: outside
  envoyExtAuthzHttp: {{service: {outside}, port: 9100, pathPrefix: /check, headersToUpstreamOnAllow: [x-user]}}
- name: open
  envoyExtAuthzGrpc: {{service: {HOST}, port: 9000, timeout: 0.2s, failOpen: true}}
- name: dns
  envoyExtAuthzHttp: {{service: authz.invalid, port: 80}}
- name: dead
  envoyExtAuthzGrpc: {{service: dead.{NAMESPACE}, port: 9000, statusOnError: "418"}}
- name: no-service
  envoyExtAuthzGrpc: {{service: nobody.{NAMESPACE}.svc.cluster.local, port: 9000}}
- name: no-port
  envoyExtAuthzGrpc: {{service: {HOST}, port: 1}}
- name: other-kind
  zipkin: {{service: zipkin, port: 9411}}
"""


class Guarded:
    """The rig's pods, and authorizers behind several names."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.authz = mesh.rig.pod("authz")
        self.grpc, self.http, self.plain = GrpcAuthorizer(), HttpAuthorizer("/check"), HttpAuthorizer("/check")
        self.authz.serve(9000, self.grpc)
        self.authz.serve(9001, self.http)
        mesh.outside.serve(9100, self.plain)
        # A port without a declared protocol, as many have it.
        ports = {9000: ("authz", 9000), 9001: ("http-authz", 9001)}
        mesh.rig.apply(
            service("authz", ["10.96.0.9"], ports),
            service("authz-headless", ["None"], ports, app="authz"),
            service("dead", ["10.96.0.10"], {9000: ("grpc", 9000)}),
            ConfigMap.model_validate(
                {"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": providers(mesh.outside.addresses[0])}}
            ),
        )

    def asked(self, provider: str) -> list[str]:
        return {"http": self.http, "outside": self.plain}.get(provider, self.grpc).paths()

    def release(self) -> None:
        """Authorizers that are slow answer at once, those that will be are slow again."""
        for each in (self.grpc, self.http, self.plain):
            each.ended.set()
            each.ended = threading.Event()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with rig() as made:
        found = Guarded(Mesh(made))
        try:
            yield found
        finally:
            found.release()


def custom(provider: str, *rules: dict[str, Any], name: str = "ask", app: str = "web") -> AuthorizationPolicy:
    return AuthorizationPolicy.model_validate(
        {
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": {"app": app}},
                "action": "CUSTOM",
                "provider": {"name": provider},
                "rules": list(rules) or [{"to": [{"operation": {"notPaths": ["/free*"]}}]}],
            },
        }
    )


def ask(pod: RigPod, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
    return pod.request(VIP, 80, path, method=method, host="web", body=body, headers=headers)


@pytest.mark.parametrize("provider", ["grpc", "headless", "http", "outside"])
def test_the_authorizer_decides_about_what_a_rule_matches_and_nothing_else(guarded: Guarded, provider: str) -> None:
    client = guarded.mesh.client
    with guarded.mesh.having(custom(provider)):
        prefix = "/check" if provider in ("http", "outside") else ""
        allowed = ask(client, f"/yes/{provider}")
        assert allowed.status == 200
        assert allowed.echo["headers"]["x-user"] == ("jo" if prefix else "client")
        before = len(guarded.mesh.connections)
        refused = ask(client, f"{DENY}/{provider}")
        assert (refused.status, refused.body) == (401 if prefix else 402, b"not today")
        assert ask(client, f"/free/{provider}").status == 200
        assert guarded.asked(provider)[-2:] == [f"{prefix}/yes/{provider}", f"{prefix}{DENY}/{provider}"]
        record = guarded.mesh.web.record(p=f"{DENY}/{provider}")
        assert (record["f"], record["x"]) == ("UAEX", "ext_authz_denied")
        assert record["cp"] == f"ns[{NAMESPACE}]-policy[ask]-rule[0]"
        assert len(guarded.mesh.connections) <= before + 1  # what was refused has not reached the program


def test_a_grpc_authorizer_sees_the_request_and_who_sent_it_and_may_change_its_headers(guarded: Guarded) -> None:
    with guarded.mesh.having(custom("grpc-body")):
        answer = ask(guarded.mesh.client, "/seen?q=1", "POST", b"12345678", **{"x-in": "i", "x-secret": "s"})
        assert answer.headers["x-checked"] == "yes"
        assert "x-secret" not in answer.echo["headers"]
        seen = guarded.grpc.asked[-1].attributes
        assert (seen.source.principal, seen.destination.principal) == (CLIENT, WEB)
        assert (seen.request.http.method, seen.request.http.path, seen.request.http.host) == ("POST", "/seen?q=1", "web")
        assert seen.request.http.headers["x-in"] == "i"
        assert seen.request.http.raw_body == b"12345678"
        # What does not fit is refused before anybody is asked: the authorizer must not decide about half of it.
        assert ask(guarded.mesh.client, "/large", "POST", b"123456789").status == 413
        assert "/large" not in guarded.grpc.paths()
        refused = ask(guarded.mesh.client, DENY)
        assert refused.headers["x-why"] == "because"


def test_an_http_authorizer_sees_and_says_what_its_provider_lists(guarded: Guarded) -> None:
    with guarded.mesh.having(custom("http")):
        answer = ask(guarded.mesh.client, "/listed", "PUT", b"12345", **{"x-in": "i", "x-pq": "p", "a-s": "a", "x-other": "o"})
        line, headers, body = guarded.http.asked[-1]
        assert line == "PUT /check/listed HTTP/1.1"
        assert (headers["x-in"], headers["x-pq"], headers["a-s"], headers["x-share"]) == ("i", "p", "a", "100%")
        assert "x-other" not in headers
        assert body == b"1234"
        assert (answer.echo["body"], answer.echo["headers"]["x-user"], answer.headers["x-checked"]) == ("12345", "jo", "yes")
        assert "x-inner" not in answer.echo["headers"]
        refused = ask(guarded.mesh.client, DENY)
        assert refused.headers["x-why"] == "because"
        assert "x-inner" not in refused.headers


def test_authorizers_of_the_mesh_are_called_with_mutual_tls(guarded: Guarded) -> None:
    with guarded.mesh.having(custom("grpc")):
        assert ask(guarded.mesh.client, "/tls").status == 200
    record = eventually(lambda: [each for each in guarded.authz.records() if each.get("pi") == WEB])[0]
    assert record["tv"] == "TLSv1.3"


@pytest.mark.parametrize(
    ("provider", "path", "status"),
    [
        *(("grpc", path, 403) for path in (GARBAGE, ERROR, CLOSE, SLOW)),
        ("grpc", UNMEANT, 500),
        *(("http", path, 503) for path in (GARBAGE, ERROR, CLOSE, SLOW)),
        *((provider, f"/{provider}", 403) for provider in ("dead", "dns")),
    ],
)
def test_without_a_clear_answer_a_request_is_refused(guarded: Guarded, provider: str, path: str, status: int) -> None:
    path = f"{path}/{provider}"
    with guarded.mesh.having(custom(provider)):
        assert ask(guarded.mesh.client, path).status == status
        assert guarded.mesh.web.record(p=path)["f"] == "UAEX"
    guarded.release()


def test_only_a_provider_that_is_declared_to_fail_open_does(guarded: Guarded) -> None:
    with guarded.mesh.having(custom("open")):
        assert ask(guarded.mesh.client, f"{ERROR}/open").status == 200
        assert ask(guarded.mesh.client, f"{DENY}/open").status == 402


@pytest.mark.parametrize("provider", ["unknown", "no-service", "no-port", "other-kind"])
def test_where_there_is_nobody_to_ask_what_would_be_asked_about_is_denied(guarded: Guarded, provider: str) -> None:
    with guarded.mesh.having(custom(provider)):
        assert ask(guarded.mesh.client, f"/bad/{provider}").status == 403
        assert ask(guarded.mesh.client, f"/free/{provider}").status == 200
        assert denied_by(guarded.mesh.web.record(p=f"/bad/{provider}")) == f"ns[{NAMESPACE}]-policy[ask]-rule[0]{BAD}"


def test_two_providers_on_one_workload_are_none(guarded: Guarded) -> None:
    only = {"to": [{"operation": {"paths": ["/two/b"]}}]}
    with guarded.mesh.having(custom("grpc", {"to": [{"operation": {"paths": ["/two/a"]}}]}), custom("http", only, name="other")):
        for path, name in (("/two/a", "ask"), ("/two/b", "other")):
            assert ask(guarded.mesh.client, path).status == 403
            assert denied_by(guarded.mesh.web.record(p=path)) == f"ns[{NAMESPACE}]-policy[{name}]-rule[0]{BAD}"
        assert ask(guarded.mesh.client, "/two/c").status == 200


def test_an_authorizer_is_not_asked_whether_it_may_be_asked(guarded: Guarded) -> None:
    with guarded.mesh.having(custom("http", {}, app="authz")):
        answer = guarded.mesh.client.request("10.96.0.9", 9001, "/self", host="authz")
        assert answer.status == 403
        assert denied_by(guarded.authz.record(p="/self")).endswith(BAD)
        assert "/check/self" not in guarded.http.paths()


def test_a_change_holds_for_the_next_request_of_an_open_connection(guarded: Guarded) -> None:
    with guarded.mesh.client.connect(VIP, 80) as connection:

        def status() -> bytes:
            connection.sendall(f"GET {DENY}/open HTTP/1.1\r\nHost: web\r\n\r\n".encode())
            return connection.recv(65536)[9:12]

        assert status() == b"200"
        with guarded.mesh.having(custom("grpc")):
            assert status() == b"402"
        assert status() == b"200"


@pytest.mark.parametrize("provider", ["grpc-body", "http"])
def test_a_websocket_is_asked_about_before_it_is_one(guarded: Guarded, provider: str) -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in WEBSOCKET.items())
    with guarded.mesh.having(custom(provider)):
        for path, status in (("/socket", b"101"), (DENY, b"401" if provider == "http" else b"402")):
            with guarded.mesh.client.connect(VIP, 80) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n{fields}\r\n".encode())
                assert connection.recv(4096)[9:12] == status


# -- all actions together ------------------------------------------------------------------------------------------------


def _when(header: str) -> dict[str, Any]:
    return {"when": [{"key": f"request.headers[{header}]", "values": ["yes"]}]}


def _tried(name: str, action: str, header: str) -> AuthorizationPolicy:
    made = policy(name, action, _when(header))
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"annotations": {"istio.io/dry-run": "true"}})})


ALWAYS = (custom("grpc", _when("x-custom")), policy("deny", "DENY", _when("x-deny")), policy("audit", "AUDIT", _when("x-audit")))
SOMETIMES = (
    policy("allow", "ALLOW", _when("x-allow")),
    _tried("try-allow", "ALLOW", "x-try-allow"),
    _tried("try-deny", "DENY", "x-try-deny"),
)
HEADERS = ("x-custom", "x-deny", "x-audit", "x-allow", "x-try-allow", "x-try-deny")


@pytest.mark.parametrize("present", list(itertools.product([False, True], repeat=3)))
def test_every_combination_of_actions_is_decided_as_the_engine_says(guarded: Guarded, present: tuple[bool, ...]) -> None:
    policies = (*ALWAYS, *(each for each, there in zip(SOMETIMES, present, strict=True) if there))
    # Headers that no policy asks about would make no difference.
    used = [name for name, there in zip(HEADERS, (True, True, True, *present), strict=True) if there]
    sent = [
        (frozenset(name for name, there in zip(used, choice, strict=True) if there), agrees)
        for choice in itertools.product([False, True], repeat=len(used))
        for agrees in ((True, False) if choice[0] else (True,))
    ]
    paths = [f"{'/all' if agrees else DENY}/{sum(present[i] << i for i in range(3))}/{number}" for number, (_, agrees) in enumerate(sent)]
    with guarded.mesh.having(*policies):
        answers = [
            guarded.mesh.client.request(VIP, 80, path, host="web", headers=dict.fromkeys(names, "yes"))
            for (names, _), path in zip(sent, paths, strict=True)
        ]
    for (names, agrees), path, answer in zip(sent, paths, answers, strict=True):
        request = Request(port=8080, method="GET", path=path, host="web", headers=dict.fromkeys(names, ("yes",)))
        verdict = decide(request, Peer(CLIENT), Workload(namespace=NAMESPACE, labels={"app": "web"}), policies, external=agrees)
        record = guarded.mesh.web.record(p=path)
        told = names, agrees, record
        assert verdict.allowed == (answer.status == 200), told
        assert (record.get("cp", "") if record.get("cp", "").startswith("ns[") else "") == str(verdict.custom or ""), told
        if agrees:
            assert record["q"] == verdict.judgement.name, told
            tried = verdict.dry_run
            assert (record.get("dp") or "-", record.get("dr") or "-") == (
                (tried.name, "allowed" if tried.allowed else "denied") if tried else ("-", "-")
            ), told
            assert (record.get("ap") or "").startswith("ns[") == bool(verdict.audited), told
