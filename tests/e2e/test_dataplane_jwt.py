"""Tokens on a real sidecar, judged at the program: the table that the engine answers too, and what the program gets to see."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.e2e.envoy_rig import RigPod, eventually, rig
from tests.e2e.envoy_rig_mesh import STRICT, VIP, VIP6, denied_by, mode, policy, service
from tests.unit.policy import jwt_cases as table
from tests.unit.policy.jwt_cases import ALICE, CASES, RULES, Case, authentications, bearer, jwks, says, token

from hauberk.api.metadata import ApiObject
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.translate.one_token import AMBIGUOUS

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


OUTPUTS = {"outputClaimToHeaders": [{"header": "X-Sub", "claim": "sub"}], "outputPayloadToHeader": "x-payload"}
RULE: dict[str, Any] = {"issuer": ALICE, "jwks": jwks(("rsa", table.RSA))}


# -- the table -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [True, False], ids=["with-outputs", "without"])
@pytest.mark.parametrize("rules", RULES)
def test_the_sidecar_says_what_the_table_says(house: House, rules: str, outputs: bool) -> None:
    differences = []
    with house.having(*authentications(rules, outputs=outputs)):
        for number, case in enumerate(CASES):
            if case.rules == rules and not case.brief:
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


# -- what the program gets to see ------------------------------------------------------------------------------------------

FORGED: Headers = (("x-sub", "root"), ("X-Payload", "e30"), ("x-bob-sub", "root"))
PREFLIGHT: Headers = (("Origin", "https://evil.example"), ("Access-Control-Request-Method", "GET"))


@pytest.mark.parametrize("rules", ["one", "two", "apart", "named"])
def test_no_caller_can_say_in_a_header_what_only_a_token_says(house: House, rules: str) -> None:
    named = ("x-bare", token()) if rules == "named" else bearer(token())[0]
    written = {each["header"].lower() for rule in RULES[rules] for each in rule["outputClaimToHeaders"]} | {"x-payload"}
    with house.having(*authentications(rules)):
        connection = house.open()
        for method, headers in (("GET", FORGED), ("OPTIONS", (*FORGED, *PREFLIGHT))):
            answer = ask(connection, headers, method=method)
            assert answer.status == 200
            assert [answer.header(name) for name in sorted(written)] == [[]] * len(written)
        # Which programs could take for those.
        lookalikes = tuple((name.replace("-", "_"), "root") for name in sorted(written))
        assert [ask(connection, lookalikes).header(name) for name, _ in lookalikes] == [[]] * len(lookalikes)
        answer = ask(connection, (*FORGED, named))
        assert subject(answer) == "joe"
        assert "root" not in answer.header("x-bob-sub") or "x-bob-sub" not in written


def test_a_token_is_taken_away_unless_it_is_to_be_passed_on(house: House) -> None:
    sent = token()
    both = {"fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}, {"name": "x-t"}], "fromParams": ["t"]}
    with house.having(authentication("a", {**RULE, **both})):
        answer = ask(house.open(), (*bearer(sent), ("x-t", sent)), f"/a?x=1&t={sent}&y=2")
        assert (answer.header("authorization"), answer.header("x-t"), answer.seen["path"]) == ([], [], "/a?x=1&y=2")
    with house.having(authentication("a", {**RULE, **both, "forwardOriginalToken": True})):
        answer = ask(house.open(), (*bearer(sent), ("x-t", sent)), f"/a?x=1&t={sent}&y=2")
        assert answer.header("authorization") == [f"Bearer {sent}"]
        assert (answer.header("x-t"), answer.seen["path"]) == ([sent], f"/a?x=1&t={sent}&y=2")


def test_a_header_that_another_rule_looks_for_tokens_in_is_not_written_and_its_token_is_verified(house: House) -> None:
    writes = {"issuer": table.BOB, "jwks": RULE["jwks"], "fromCookies": ["bob"], "outputPayloadToHeader": "x-jwt"}
    with house.having(authentication("a", {**RULE, "fromHeaders": [{"name": "x-jwt"}]}), authentication("b", writes)):
        connection = house.open()
        assert ask(connection, (("x-jwt", token(key=table.STRANGER)),)).status == 401
        answer = ask(connection, (("x-jwt", token()),))
        assert (answer.status, answer.header("x-jwt")) == (200, [])


def test_claims_become_headers_by_their_type_and_never_two_of_them(house: House) -> None:
    names = ("text", "number", "yes", "inner.deep", "list", "none", "missing")
    outputs = [{"header": f"x-{name.replace('.', '-')}", "claim": name} for name in names]
    with house.having(authentication("a", {**RULE, "outputClaimToHeaders": outputs})):
        claims = says(text="a", number=7, yes=True, inner={"deep": "d"}, list=["b"], none=None)
        answer = ask(house.open(), bearer(token(claims)))
        found = {name: answer.header(f"x-{name.replace('.', '-')}") for name in names}
    listed = base64.b64encode(b'["b"]').decode()
    assert found == {
        **{"text": ["a"], "number": ["7"], "yes": ["true"], "inner.deep": ["d"], "list": [listed]},
        **{"none": [], "missing": []},
    }


def test_a_claim_cannot_smuggle_a_header(house: House) -> None:
    with house.having(authentication("a", {**RULE, "outputClaimToHeaders": [{"header": "x-text", "claim": "text"}]})):
        before = len(house.program.seen)
        answer = ask(house.open(), bearer(token(says(text="a\r\nx-evil: 1"))))
        assert (answer.status, len(house.program.seen) - before) == (503, 0)


# -- changes -------------------------------------------------------------------------------------------------------------


def test_a_changed_rule_or_key_holds_for_the_next_request_of_an_open_connection(house: House) -> None:
    connection = house.open()
    good, strange = bearer(token()), bearer(token(key=table.STRANGER))

    def statuses() -> list[int]:
        return [ask(connection, headers).status for headers in ((), good, strange)]

    assert statuses() == [200, 200, 200]
    with house.having(authentication("a", RULE)):
        assert statuses() == [200, 200, 401]
        # The provider has changed its key, and then vanished.
        with house.having(authentication("a", {**RULE, "jwks": jwks(("rsa", table.STRANGER))})):
            assert statuses() == [200, 401, 200]
        with house.having(authentication("a", {"issuer": ALICE, "jwksUri": "https://nobody.invalid/"})):
            assert statuses() == [200, 401, 401]
        with house.having(authentication("a", {**RULE, "issuer": "https://other.example"})):
            assert statuses() == [200, 401, 401]
        assert statuses() == [200, 200, 401]
    assert statuses() == [200, 200, 200]


def test_a_token_that_was_good_is_not_good_for_longer_than_it_says(house: House) -> None:
    """The sidecar remembers that a signature was good, and nothing else."""
    with house.having(authentication("a", RULE)):
        # It ended a minute ago but for four seconds: so much the clocks may differ.
        short = bearer(token(says(exp=int(time.time()) - 56)))
        connection = house.open()
        assert [ask(connection, short).status for _ in range(3)] == [200] * 3
        eventually(lambda: ask(connection, short).status == 401)


def test_a_refusal_is_recorded_with_its_reason(house: House) -> None:
    with house.having(authentication("a", RULE)):
        assert ask(house.open(), bearer(token(says(exp=1))), "/recorded").status == 401
        assert house.web.record(p="/recorded")["x"] == "jwt_authn_access_denied{Jwt_is_expired}"
        assert ask(house.open(), (), "/twice?access_token=a&access_token=b").status == 403
        assert denied_by(house.web.record(s=403)) == AMBIGUOUS


def test_a_caller_in_plaintext_is_asked_for_the_same(house: House) -> None:
    outside = house.rig.pods.get("outside") or house.rig.pod("outside", meshed=False)
    with house.having(mode("all", "shop", mtls={"mode": "PERMISSIVE"}), authentication("a", {**RULE, **OUTPUTS})):
        for headers, expected in (((), 200), (bearer(token()), 200), (bearer("bad"), 401)):
            connection = http.client.HTTPConnection(house.web.addresses[0], 8080)
            connection.sock = outside.connect(house.web.addresses[0], 8080)
            answer = ask(connection, (*headers, ("x-sub", "root")))
            assert answer.status == expected
            assert "root" not in answer.header("x-sub")


# -- policies that ask about tokens ----------------------------------------------------------------------------------------

WANTED: list[tuple[dict[str, Any], dict[str, Any] | None, int]] = [
    ({"from": [{"source": {"requestPrincipals": ["*"]}}]}, {}, 200),
    ({"from": [{"source": {"requestPrincipals": ["*"]}}]}, None, 403),
    ({"from": [{"source": {"requestPrincipals": ["*"]}}]}, {"sub": ...}, 403),
    ({"from": [{"source": {"requestPrincipals": [f"{ALICE}/joe"]}}]}, {}, 200),
    ({"from": [{"source": {"requestPrincipals": [f"{ALICE}/joe"]}}]}, {"sub": "jo"}, 403),
    ({"from": [{"source": {"requestPrincipals": [f"{ALICE}/*"]}}]}, {"sub": "anybody"}, 200),
    ({"from": [{"source": {"notRequestPrincipals": ["*"]}}]}, None, 200),
    ({"from": [{"source": {"notRequestPrincipals": ["*"]}}]}, {}, 403),
    ({"when": [{"key": "request.auth.claims[groups]", "values": ["readers"]}]}, {}, 200),
    ({"when": [{"key": "request.auth.claims[groups]", "values": ["readers"]}]}, {"groups": ["writers"]}, 403),
    ({"when": [{"key": "request.auth.claims[groups]", "values": ["readers"]}]}, {"groups": "readers"}, 200),
    ({"when": [{"key": "request.auth.claims[groups]", "values": ["readers"]}]}, {"groups": {"readers": 1}}, 403),
    ({"when": [{"key": "request.auth.claims[groups]", "values": ["readers"]}]}, None, 403),
    ({"when": [{"key": "request.auth.claims[groups]", "notValues": ["readers"]}]}, {"groups": ["writers"]}, 200),
    ({"when": [{"key": "request.auth.claims[groups]", "notValues": ["readers"]}]}, {"groups": ["writers", "readers"]}, 403),
    ({"when": [{"key": "request.auth.claims[scope]", "values": ["write"]}]}, {}, 200),
    ({"when": [{"key": "request.auth.claims[scope]", "values": ["read write"]}]}, {}, 403),
    ({"when": [{"key": "request.auth.claims[scope]", "values": ["write"]}]}, {"scope": "  read   write "}, 200),
    ({"when": [{"key": "request.auth.claims[scope]", "values": ["write"]}]}, {"scope": "read\twrite"}, 403),
    ({"when": [{"key": "request.auth.claims[scope]", "values": ["write"]}]}, {"scope": "read\u00a0write"}, 403),
    ({"when": [{"key": "request.auth.claims[roles]", "values": ["b"]}]}, {"roles": "a b"}, 200),
    ({"when": [{"key": "request.auth.claims[realm][roles]", "values": ["admin"]}]}, {"realm": {"roles": ["admin"]}}, 200),
    ({"when": [{"key": "request.auth.audiences", "values": ["shop"]}]}, {"aud": ["bank", "shop"]}, 200),
    ({"when": [{"key": "request.auth.presenter", "values": ["app"]}]}, {"azp": "app"}, 200),
]


def test_policies_see_the_claims_of_a_verified_token_and_of_no_other(house: House) -> None:
    """Both ways: what ALLOW lets in DENY keeps out."""
    rule = {**RULE, "spaceDelimitedClaims": ["roles"]}
    differences = []
    for asked in {json.dumps(asked): asked for asked, _, _ in WANTED}.values():
        cases = [(claims, status) for each, claims, status in WANTED if each == asked]
        for action in ("ALLOW", "DENY"):
            with house.having(authentication("a", rule), policy("p", action, asked)):
                for claims, status in cases:
                    headers = () if claims is None else bearer(token(says(**claims)))
                    expected = status if action == "ALLOW" else 403 if status == 200 else 200
                    found = ask(house.open(), headers).status
                    if found != expected:
                        differences.append(f"{action} {asked} {claims}: {found} and not {expected}")
    assert not differences, "\n".join(differences)


def test_without_a_rule_about_the_issuer_no_token_says_anything_to_policies(house: House) -> None:
    with house.having(policy("p", "ALLOW", {"from": [{"source": {"requestPrincipals": ["*"]}}]})):
        assert ask(house.open(), bearer(token())).status == 403
