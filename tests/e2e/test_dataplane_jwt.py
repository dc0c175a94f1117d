"""Tokens on a real sidecar, judged at the program: the table that the engine answers too, and what the program gets to see."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.e2e.envoy_rig import RigPod, rig
from tests.e2e.envoy_rig_mesh import STRICT, VIP, VIP6, service
from tests.unit.policy import jwt_cases as table
from tests.unit.policy.jwt_cases import ALICE, CASES, RULES, Case, authentications, jwks

from hauberk.api.metadata import ApiObject
from hauberk.api.request_authentication import RequestAuthentication

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")

Headers = tuple[tuple[str, str], ...]


class Program:
    """A program that says what it was sent, and remembers it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while line := file.readline():
            path = line.decode().split()[1]
            headers: list[tuple[str, str]] = []
            while field := file.readline().strip():
                name, _, value = field.decode("latin-1").partition(":")
                headers.append((name.lower(), value.strip()))
            self.seen.append(path)
            body = json.dumps({"path": path, "headers": headers}).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


class House:
    """A caller, and a program behind a sidecar that verifies tokens."""

    def __init__(self, made: Any) -> None:
        self.rig = made
        self.program = Program()
        self.client: RigPod = made.pod("client")
        self.web: RigPod = made.pod("web")
        self.web.serve(8080, self.program)
        made.apply(STRICT, service("web", [VIP, VIP6], {80: ("http", 8080)}))

    @contextmanager
    def having(self, *objects: ApiObject) -> Iterator[None]:
        before = dict(self.rig.objects)
        self.rig.apply(*objects)
        try:
            yield
        finally:
            self.rig.objects = before
            self.rig.push()

    def open(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(VIP, 80)
        connection.sock = self.client.connect(VIP, 80)
        return connection


class Answer:
    """What came back, and what of the request reached the program."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read()
        self.seen: dict[str, Any] = json.loads(self.text) if response.status == 200 else {}

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.seen.get("headers", ()) if key == name]


def ask(connection: http.client.HTTPConnection, headers: Headers = (), path: str = "/", method: str = "GET") -> Answer:
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in (("Host", "web"), *headers):
        connection.putheader(name, value)
    connection.endheaders()
    return Answer(connection.getresponse())


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with rig() as made:
        yield House(made)


def authentication(name: str, *rules: dict[str, Any]) -> RequestAuthentication:
    return RequestAuthentication.model_validate({"metadata": {"name": name, "namespace": "shop"}, "spec": {"jwtRules": list(rules)}})


RULE = {"issuer": ALICE, "jwks": jwks(("rsa", table.RSA))}


# -- the table -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [True, False], ids=["with-outputs", "without"])
@pytest.mark.parametrize("rules", RULES)
def test_the_sidecar_says_what_the_table_says(house: House, rules: str, outputs: bool) -> None:
    differences = []
    with house.having(*authentications(rules, outputs=outputs)):
        for number, case in enumerate(CASES):
            if case.rules == rules:
                path = f"/{rules}/{outputs}/{number}{case.query}"
                # A connection each: a request that is too large takes its connection with it.
                with house.client.connect(VIP, 80) as connection:
                    told = outcome(house, connection, case, path, outputs=outputs)
                if told:
                    differences.append(f"{case}: {told}")
    assert not differences, "\n".join(differences)


def outcome(house: House, sock: socket.socket, case: Case, path: str, *, outputs: bool) -> str:
    """How it differs from what the table says; empty if it does not."""
    before = len(house.program.seen)
    connection = http.client.HTTPConnection(VIP, 80)
    connection.sock = sock
    answer = ask(connection, case.headers, path)
    reached = len(house.program.seen) - before
    if answer.status != case.status or reached != (case.status == 200):
        return f"{answer.status} and not {case.status}, {answer.text[:100]!r}, the program saw {reached} requests"
    if case.reason and answer.text.decode() != case.reason:
        return f"{answer.text.decode()!r} and not {case.reason!r}"
    if answer.status == 401 and not answer.fields.get("www-authenticate", "").startswith("Bearer realm="):
        return f"no challenge: {answer.fields}"
    found = subject(answer)
    if answer.status == 200 and outputs and found != case.subject:
        return f"at the program it is {found!r} and not {case.subject!r}"
    return ""


def subject(answer: Answer) -> str | None:
    """Who it is for the program; two answers would be none."""
    payloads, subjects = answer.header("x-payload"), answer.header("x-sub")
    if not payloads:
        assert not subjects
        return None
    (payload,) = payloads
    named = str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get("sub", ""))
    assert subjects == ([named] if named else [])
    return named
