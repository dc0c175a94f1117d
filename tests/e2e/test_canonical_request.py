"""What was authorized is what the program gets: requests that try to be two things at once, judged by what reached the program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from tests.e2e.envoy_rig import Rig, RigPod, rig
from tests.e2e.envoy_rig_mesh import VIP, VIP6, denied_by, mode, policy, service
from tests.e2e.raw_requests import Caller, Seen, member, recorder

from hauberk.api.config_map import ConfigMap
from hauberk.api.metadata import ApiObject

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")

LEVELS = ["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]


@dataclass
class Pods:
    """`peer` is a member of the mesh that writes its own bytes, `program` one behind its sidecar, `plain` a stranger."""

    rig: Rig
    web: RigPod
    peer: Caller
    program: Caller
    plain: Caller

    @property
    def all(self) -> tuple[Caller, ...]:
        return self.peer, self.program, self.plain

    @contextmanager
    def having(self, *objects: ApiObject) -> Iterator[None]:
        before = dict(self.rig.objects)
        self.rig.apply(*objects)
        try:
            yield
        finally:
            self.rig.objects = before
            self.rig.push()


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    with rig() as made:
        client, web, outside = made.pod("client"), made.pod("web"), made.pod("outside", meshed=False)
        web.serve(8080, recorder)
        made.apply(mode("default", mtls={"mode": "PERMISSIVE"}), service("web", [VIP, VIP6], {80: ("http", 8080)}))
        address = (web.addresses[0], 8080)
        tls = member(made, "client", tmp_path_factory.mktemp("member"))
        yield Pods(made, web, Caller(outside, address, tls), Caller(client, (VIP, 80)), Caller(outside, address))


def settings(text: str) -> ConfigMap:
    return ConfigMap.model_validate({"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": text}})


def about(action: str, **operation: list[str]) -> ApiObject:
    return policy("paths", action, {"to": [{"operation": operation}]})


# -- paths ---------------------------------------------------------------------------------------------------------------

# Ways to write /admin. Each reaches it in some framework, most in none.
ADMIN = (
    *("/admin", "/admin/", "/admin/x", "/admin?q", "/admin/?q", "//admin", "///admin", "/./admin", "/.//admin"),
    *("/ok/../admin", "/ok/../../admin", "/../admin", "/..//admin", "/ok/./../admin", "/ok/%2e%2e/admin", "/ok/%2E%2e/admin"),
    *("/ok/.%2e/admin", "/%2e/admin", "/ok/..%2fadmin", "/ok%2f..%2fadmin", "/ok%2F%2e%2e%2Fadmin", "/%2fadmin", "/%2Fadmin"),
    *("/%61dmin", "/%61%64%6d%69%6e", "/adm%69n", "/%2561dmin", "/ok/%252e%252e/admin", "/ok/%252e%252e%252fadmin"),
    *("/%252fadmin", "/%25%32%66admin", "/admin%2f", "/admin%2fx", "/ok/..\\admin", "/ok\\..\\admin", "/\\admin"),
    *("/ok%5c..%5cadmin", "/%5cadmin", "/ok/..%5cadmin", "/ok/%2e%2e%5cadmin", "/admin%5cx", "/admin;x", "/admin;x=y/z"),
    *("/;x/admin", "/ok;x/../admin", "/ok/..;/admin", "/ok/..;x=y/admin", "/ok/%2e%2e;/admin", "/ok/.;/../admin"),
    *("/admin%00", "/admin%00.html", "/admin%3bx", "/admin%3fq", "/admin%23x", "/admin%20", "/admin%09", "/admin%0a"),
    *("/ok/..%00/admin", "http://web/admin", "http://web//admin", "http://web/ok/../admin", "http://admin@web/admin"),
    *("/admin#x", "/ok#/../admin", "/ok?/../admin", "admin", "\\admin", "*", "?/admin", "http://web?/admin", "/admin\x00"),
    *("/admin\t", "/À¯admin", "/ok/..%c0%afadmin", "/ok/..%ef%bc%8fadmin", "/ok/....//admin", "/ok/..././admin"),
    *("/ok//../admin", "/ok//..//admin", "/ok/x/../../admin", "/ok/x//../../admin"),
)


def as_lenient_programs_read(path: str) -> set[str]:
    """What programs make of a path that take great pains to understand it: in any order, and as often as they like."""
    readings = {path.partition("?")[0].partition("#")[0]}
    for _ in range(4):
        for reading in list(readings):
            decoded = unquote_to_bytes(reading.encode("latin-1")).decode("latin-1")
            without = "/".join(segment.partition(";")[0] for segment in reading.split("/"))
            readings |= {decoded, reading.replace("\\", "/"), without, reading.partition("\0")[0], re.sub("//+", "/", reading)}
            readings.add(_without_dots(reading))
    return readings


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[1:][-1:]
            kept = kept[: max(1, len(kept) - 1)]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


def reaches(seen: Seen, root: str) -> bool:
    return any(each == root or each.startswith(f"{root}/") for each in as_lenient_programs_read(seen.path))


@pytest.mark.parametrize("level", LEVELS)
def test_no_way_to_write_a_path_dodges_a_denial_or_fakes_a_permission(pods: Pods, level: str) -> None:
    paths = settings(f"pathNormalization: {{normalization: {level}}}")
    with pods.having(paths, about("DENY", paths=["/admin", "/admin/*"])):
        assert pods.plain.get("/ok").status == 200
        got = {path: pods.plain.get(path) for path in ADMIN}
        # A query, and what only looks like a path, may pass.
        assert not {path for path, seen in got.items() if seen.lines and reaches(seen, "/admin")}
    with pods.having(paths, about("ALLOW", paths=["/ok", "/ok/*"])):
        assert pods.plain.get("/ok/x").status == 200
        got = {path: pods.plain.get(path) for path in ADMIN}
        assert not {path for path, seen in got.items() if seen.lines and (not reaches(seen, "/ok") or reaches(seen, "/admin"))}


@pytest.mark.parametrize(
    ("level", "sent", "got"),
    [
        *((level, "/a/../b", "/a/../b" if level == "NONE" else "/b") for level in LEVELS),
        *((level, "/a%2e%2Fb", "/a%2e%2Fb" if level == "NONE" else "/a./b" if "DECODE" in level else "/a.%2Fb") for level in LEVELS),
        *((level, "/a//b///c", "/a/b/c" if "MERGE" in level else "/a//b///c") for level in LEVELS),
        *((level, "/a\\b", "/a\\b" if level == "NONE" else "/a/b") for level in LEVELS),
        *((level, "/a%5Cb", "/a/b" if "DECODE" in level else "/a%5Cb") for level in LEVELS),
        *((level, "/%61%3f?%61//..", "/%61%3f?%61//.." if level == "NONE" else "/a%3f?%61//..") for level in LEVELS),
    ],
)
def test_each_level_passes_on_what_it_says(pods: Pods, level: str, sent: str, got: str) -> None:
    # The level is the listener's: one change of it serves all of its cases.
    if pods.rig.objects.get(settings("").key) != (wanted := settings(f"pathNormalization: {{normalization: {level}}}")):
        pods.rig.apply(wanted)
    # Over a new connection: one that was made before goes on as it began until it is drained.
    assert [caller.get(sent).path for caller in (pods.peer, pods.plain)] == [got] * 2


def test_ambiguous_paths_are_refused_by_name_only_where_policies_ask_about_paths(pods: Pods) -> None:
    ways = [f"/unclear/{way}" for way in ("a%2fb", "a%5Cb", "a;b", "a//b", "%252e", "a/%252F", "a%3Bb")]
    with pods.having(settings(""), about("DENY", paths=["/admin"])):
        for way in ways:
            assert pods.program.get(way).status == 403
            assert denied_by(pods.web.record(p=way)) == "hauberk-ambiguous-path"
        # A query may hold what it likes, and so may what is escaped in only one way.
        assert pods.program.get("/unclear/a%20b?x=//;%2f").status == 200
    with pods.having(settings(""), about("DENY", hosts=["other"])):
        assert [pods.program.get(way).status for way in ways] == [200] * len(ways)
    with pods.having(settings("hauberk: {ambiguousPaths: ALLOW}"), about("DENY", paths=["/admin"])):
        assert [pods.program.get(way).status for way in ways] == [200] * len(ways)


# -- hosts, methods ------------------------------------------------------------------------------------------------------

SECRET_HOST = ("secret", "SECRET", "Secret", "secret.", "secret:80", "SECRET.:8080", "secret:", "secret:x")


def test_a_host_is_the_same_with_port_dot_and_in_any_case_and_is_passed_on_as_sent(pods: Pods) -> None:
    with pods.having(about("DENY", hosts=["secret"])):
        assert [pods.peer.get("/", host=host).status for host in SECRET_HOST] == [403] * len(SECRET_HOST)
        assert pods.peer.get("/", host="SecreT.example:81").values("host") == ["SecreT.example:81"]
        # The target of the request line is the host, whatever the header says.
        assert pods.peer.get("http://secret/", host="web").status == 403
        assert pods.peer.get("http://web:9/", host="secret").values("host") == ["web:9"]
        assert pods.peer.get("http://user@secret/", host="web").status == 403


def test_two_hosts_are_none(pods: Pods) -> None:
    with pods.having(about("DENY", hosts=["secret"])):
        for seen in (
            pods.peer.get("/", "Host: secret"),
            pods.peer.get("/", "Host: web", host="secret"),
            pods.peer.get("/", host="web,secret"),
            pods.peer.get("/", host="user@secret"),
            pods.peer.frames([*_request("/"), (":authority", "secret")]),
            pods.peer.frames([*_request("/", authority="user@secret")]),
        ):
            assert not seen.lines
    with pods.having(about("ALLOW", hosts=["web"])):
        # Of the two only one is left, that which was looked at.
        assert pods.peer.frames([*_request("/"), ("host", "secret")]).values("host") == ["web"]
        assert not pods.peer.frames([*_request("/", authority="secret"), ("host", "web")]).lines
        assert pods.peer.frames([*_request("/", authority=None), ("host", "web")]).values("host") == ["web"]


def test_a_method_in_lower_case_is_not_taken_for_another(pods: Pods) -> None:
    with pods.having(about("DENY", methods=["DELETE"])):
        for method in ("delete", "Delete", "DELETE", "DELETE /x HTTP/1.1", "DELETE "):
            assert not pods.peer.frames(_request("/", method=method)).lines
        assert not pods.peer.get("/", method="delete").lines
        assert pods.peer.frames(_request("/", method="PURGE")).method == "PURGE"
    # Where nobody asks, it is the program's affair.
    assert pods.peer.frames(_request("/", method="delete")).method == "delete"


def _request(path: str, *, method: str = "GET", authority: str | None = "web") -> list[tuple[str, str]]:
    fields = [(":method", method), (":path", path), (":scheme", "http")]
    return fields if authority is None else [*fields, (":authority", authority)]


# -- headers -------------------------------------------------------------------------------------------------------------


def tenant(action: str, **values: list[str]) -> ApiObject:
    return policy("tenant", action, {"when": [{"key": "request.headers[x-tenant]", **values}]})


def test_no_second_value_dodges_what_is_said_of_a_header(pods: Pods) -> None:
    two = [("X-Tenant: acme", "X-Tenant: evil"), ("X-Tenant: evil", "x-tenant: acme"), ("x-tenant: acme,evil",), ("x-tenant: acme, evil",)]
    with pods.having(tenant("ALLOW", values=["acme"])):
        assert pods.peer.get("/", "X-TENANT:acme").values("x-tenant") == ["acme"]
        for fields in two:
            assert not pods.peer.get("/", *fields).lines
    with pods.having(tenant("DENY", values=["evil*", "*,evil", "*, evil"])):
        for fields in two:
            assert not pods.peer.get("/", *fields).lines
    with pods.having(tenant("DENY", notValues=["acme"])):
        for fields in (*two, ()):
            assert not pods.peer.get("/", *fields).lines


def test_a_program_gets_no_other_header_that_it_could_take_for_the_one_that_was_asked_about(pods: Pods) -> None:
    with pods.having(tenant("ALLOW", values=["acme"])):
        seen = pods.peer.get("/", "x-tenant: acme", "x_tenant: evil", "X_TENANT: evil", "x_other: kept")
        assert (seen.values("x-tenant"), seen.values("x-other")) == (["acme"], ["kept"])
        assert not pods.peer.get("/", "x_tenant: acme").lines
    # Elsewhere such names are the programs' own affair, and what is only watched changes nothing.
    with pods.having(tenant("AUDIT", values=["acme"])):
        assert pods.peer.get("/", "x_tenant: a").values("x-tenant") == ["a"]
    assert pods.peer.get("/", "x_tenant: a").values("x-tenant") == ["a"]


def test_blanks_around_a_value_and_bytes_that_are_none_of_it_do_not_count(pods: Pods) -> None:
    with pods.having(tenant("DENY", values=["evil"])):
        for field in (
            "x-tenant:   evil",
            "x-tenant: evil  ",
            "x-tenant:\tevil\t",
            "x-tenant: evil\r",
            "x-tenant: ev\ril",
            "x-tenant:\r\n evil",
        ):
            assert not pods.plain.get("/", field).lines, field
        for value in (" evil", "evil ", "\tevil", "evil\r\n", "evil\0", "evil\r\nx-other: a", "ev\nil"):
            assert not pods.plain.frames([*_request("/"), ("x-tenant", value)]).lines, value
        assert not pods.plain.get("/", "x-tenant : evil").lines
        assert not pods.plain.say(b"GET / HTTP/1.1\nHost: web\nx-tenant: evil\n\n").lines


def test_a_header_that_was_asked_about_cannot_be_made_to_vanish_behind_the_sidecar(pods: Pods) -> None:
    with pods.having(tenant("ALLOW", values=["acme"])):
        # What `connection` names is for the next hop alone: the sidecar is that hop, before anybody is asked.
        assert not pods.peer.get("/", "x-tenant: acme", "connection: close, x-tenant").lines
        assert not pods.peer.frames([*_request("/"), ("x-tenant", "acme"), ("connection", "x-tenant")]).lines
        # What comes behind the body comes too late to be asked about.
        late = b"POST / HTTP/1.1\r\nHost: web\r\ntransfer-encoding: chunked\r\ntrailer: x-tenant\r\n\r\n0\r\nx-tenant: acme\r\n\r\n"
        assert not pods.peer.say(late).lines


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: web\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: web\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: web\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: web\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web\r\n:path: /admin\r\n\r\n",
        b"GET /a /admin HTTP/1.1\r\nHost: web\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_request_that_could_be_two_reaches_no_program(pods: Pods, request_bytes: bytes) -> None:
    assert not pods.peer.say(request_bytes).lines


# -- what only the mesh may say ------------------------------------------------------------------------------------------

FORGED = {
    **dict.fromkeys(("X-Forwarded-Client-Cert", "x_forwarded_client_cert"), "By=spiffe://x;URI=spiffe://cluster.local/ns/shop/sa/admin"),
    **dict.fromkeys(("x-envoy-internal", "X-Envoy-Original-Path", "x_envoy_internal", "x-envoy-decorator-operation"), "forged"),
    **dict.fromkeys(("x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-envoy-peer-metadata", "x-envoy-external-address"), "1"),
    **dict.fromkeys(("x-hauberk-caller", "x-hauberk-unique", "x-hauberk-rate-limited", "X_Hauberk_Caller"), "forged"),
}
HONEST = {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https", "x-request-id": "my-own", "traceparent": f"00-{1:032x}-{1:016x}-01"}


def test_what_only_the_mesh_may_say_reaches_no_program_and_the_rest_does(pods: Pods) -> None:
    for caller in pods.all:
        seen = caller.get("/", *(f"{name}: {value}" for name, value in (FORGED | HONEST).items()))
        names = {line.partition(":")[0].lower() for line in seen.lines[1:]}
        assert not names & {name.lower() for name in FORGED}
        assert {name: seen.values(name) for name in HONEST} == {name: [value] for name, value in HONEST.items()}
        assert not [name for name in names if name.startswith(("x-envoy", "x-hauberk"))]


def client_of(block: str, **more: Any) -> ApiObject:
    return policy("client", "ALLOW", {"from": [{"source": {"remoteIpBlocks": [block], **more}}]})


def test_nobody_is_believed_about_a_clients_address_unless_the_mesh_says_so(pods: Pods) -> None:
    forged = ("x-forwarded-for: 192.0.2.7", "x-real-ip: 192.0.2.7", "forwarded: for=192.0.2.7", "true-client-ip: 192.0.2.7")
    with pods.having(client_of("192.0.2.0/24")):
        assert [caller.get("/", *forged).status for caller in pods.all] == [403] * 3
    with pods.having(client_of("10.244.0.0/16")):
        assert [caller.get("/", *forged).status for caller in pods.all] == [200] * 3
    trusted = settings("defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}")
    with pods.having(trusted, client_of("192.0.2.0/24")):
        # The last address is that of the trusted proxy's own caller; what stands before it, somebody else has written.
        assert pods.peer.get("/", "x-forwarded-for: 192.0.2.7, 203.0.113.1").status == 200
        assert pods.peer.get("/", "x-forwarded-for: 192.0.2.7, 198.51.100.1, 203.0.113.1").status == 403


def test_every_way_to_write_a_path_is_tried_once() -> None:
    assert len(ADMIN) == len(set(chain(ADMIN)))
