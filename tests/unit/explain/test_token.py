from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.explain.meshes import AUTHORIZER, CUSTOM, ORDERS, POLICY, layer, mesh

from hauberk.explain.ask import read_question
from hauberk.explain.explain import explain
from hauberk.explain.explanation import Explanation
from hauberk.policytest.keys import TestKey

KEY = TestKey(ec.generate_private_key(ec.SECP256R1()))
NOW = datetime(2026, 7, 1, tzinfo=UTC)
TOKENS = f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: idp, namespace: shop}}
spec:
  jwtRules:
  - issuer: https://idp
    audiences: [shop]
    jwks: '{KEY.added_to("")}'
"""
CLAIMS = {"iss": "https://idp", "sub": "jo", "groups": ["writer"], "aud": "shop"}


def ask(*texts: str, later: timedelta = timedelta(), **more: Any) -> Explanation:
    snapshot, origins = mesh(*texts)
    question = {"from": "shop/frontend", "to": "orders.shop", "method": "POST", "path": "/", **more}
    return explain(snapshot, read_question(question), origins, now=NOW + later)


def token(**claims: Any) -> str:
    return KEY.token({**CLAIMS, **claims}, None, NOW)


def test_claims_of_a_verified_token_are_seen() -> None:
    found = ask(ORDERS, POLICY, TOKENS, token=token())
    assert (found.answer.word, layer(found, "jwt").outcome) == ("allow", "pass")


def test_a_bad_token_is_401_and_a_wrong_audience_403() -> None:
    assert ask(ORDERS, POLICY, TOKENS, token=token(), later=timedelta(days=1)).answer.word == "unauthenticated"
    assert ask(ORDERS, POLICY, TOKENS, token=token(iss="https://other")).answer.word == "unauthenticated"
    found = ask(ORDERS, POLICY, TOKENS, token=token(aud="bank"))
    assert (found.answer.word, found.answer.status) == ("deny", 403)
    assert layer(found, "authorization").outcome == "skipped"
    assert "the token in header `authorization` is refused" in layer(found, "jwt").because


def test_an_external_service_is_asked_before_the_token_is_looked_at() -> None:
    bad = token(iss="https://other")
    found = ask(ORDERS, TOKENS, AUTHORIZER, CUSTOM % "ask", token=bad)
    assert [(each.name, each.outcome) for each in found.answer.layers[3:5]] == [("custom", "unknown"), ("jwt", "deny")]
    assert found.answer.status == 401
    assert "if the external service ask, which is asked before, refuses" in found.answer.reason
    nobody = ask(ORDERS, TOKENS, AUTHORIZER, CUSTOM % "nobody", token=bad)
    assert (nobody.answer.status, layer(nobody, "jwt").outcome) == (403, "skipped")


def test_without_a_token_the_request_goes_on_without_claims() -> None:
    found = ask(ORDERS, POLICY, TOKENS)
    assert layer(found, "jwt").outcome == "pass"
    assert "there is no claim `groups`" in found.answer.reason


def test_a_token_that_nobody_asks_for_is_not_looked_at() -> None:
    found = ask(ORDERS, POLICY, token=token())
    assert (found.answer.verdict, layer(found, "jwt").outcome) == ("deny", "none")


def test_claims_taken_as_verified_say_when_a_real_token_would_not_be() -> None:
    assert ask(ORDERS, POLICY, TOKENS, claims=CLAIMS).answer.verdict == "allow"
    found = ask(ORDERS, POLICY, claims=CLAIMS)
    assert found.answer.verdict == "allow"
    assert "a real token would not be" in layer(found, "jwt").because


def test_a_token_in_a_header_is_found_as_the_sidecar_finds_it() -> None:
    found = ask(ORDERS, POLICY, TOKENS, headers={"authorization": f"Bearer {token()}"})
    assert found.answer.verdict == "allow"


def test_keys_that_files_do_not_hold_are_named() -> None:
    elsewhere = TOKENS.split("    jwks:", maxsplit=1)[0] + "    jwksUri: https://idp/keys\n"
    found = ask(ORDERS, POLICY, elsewhere, token=token())
    assert (found.answer.word, "no keys of https://idp" in found.answer.reason) == ("unauthenticated", True)
