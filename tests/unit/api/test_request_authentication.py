"""RequestAuthentication: rules of issuers as Istio has them, and what is told about those that cannot work."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from hauberk.api.manifest import parse_manifest
from hauberk.api.request_authentication import RequestAuthentication

Told = Callable[[str], list[tuple[str, str]]]
HEAD = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: idp, namespace: shop}\n"
RULE = "spec.jwtRules[0]"
KEYS = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})


def rules(*texts: str) -> str:
    return HEAD + f"spec: {{jwtRules: [{', '.join(f'{{{text}}}' for text in texts)}]}}\n"


def test_every_field_of_a_rule_is_known(told: Told) -> None:
    text = rules(
        f"""issuer: https://idp.example, audiences: [shop, bank], jwks: '{KEYS}', fromHeaders: [{{name: x-token, prefix: "Token "}}],
            fromParams: [token], fromCookies: [session], outputPayloadToHeader: x-payload, forwardOriginalToken: true, timeout: 2s,
            outputClaimToHeaders: [{{header: x-user, claim: sub}}, {{header: x-realm, claim: realm.name}}], spaceDelimitedClaims: [roles]"""
    )
    assert told(text) == []
    (found,) = parse_manifest(text, "r.yaml").objects
    assert isinstance(found, RequestAuthentication)
    (rule,) = found.spec.jwt_rules
    assert rule.has_locations
    assert (rule.timeout, rule.output_claim_to_headers[1].claim) == (timedelta(seconds=2), "realm.name")


def test_no_spec_and_no_rules_are_right(told: Told) -> None:
    assert told(HEAD) == []
    assert told(rules()) == []


def test_the_usual_places_of_a_token_count_only_where_no_other_is_named() -> None:
    (found,) = parse_manifest(rules("issuer: 'https://a.example'"), "r.yaml").objects
    assert isinstance(found, RequestAuthentication)
    assert not found.spec.jwt_rules[0].has_locations


@pytest.mark.parametrize(
    ("rule", "problems"),
    [
        ("issuer: alice, jwksUri: 'https://idp.example:8443/keys?x=1'", []),
        ("issuer: 'http://idp.example'", [("HBK0323", f"{RULE}.issuer")]),
        ("issuer: a, jwksUri: 'http://idp.example/keys'", [("HBK0323", f"{RULE}.jwksUri")]),
        ("issuer: alice", [("HBK0110", f"{RULE}.issuer")]),
        ("{}", [("HBK0105", f"{RULE}.issuer")]),
        ("jwksUri: 'https://idp.example'", [("HBK0325", RULE)]),
        ("issuer: a, jwksUri: 'ftp://idp.example'", [("HBK0110", f"{RULE}.jwksUri")]),
        ("issuer: a, jwksUri: 'https://me:secret@idp.example'", [("HBK0110", f"{RULE}.jwksUri")]),
        ("issuer: a, jwksUri: 'https://idp.example/#x'", [("HBK0110", f"{RULE}.jwksUri")]),
        ("issuer: a, jwksUri: 'https://idp.example:99999/'", [("HBK0110", f"{RULE}.jwksUri")]),
        ("issuer: a, jwksUri: 'https:///keys'", [("HBK0110", f"{RULE}.jwksUri")]),
        (f"issuer: a, jwks: '{KEYS}', jwksUri: 'https://idp.example'", [("HBK0202", f"{RULE}.jwksUri")]),
        ("issuer: a, jwks: 'none'", [("HBK0320", f"{RULE}.jwks")]),
    ],
)
def test_keys_come_from_one_place_that_can_be_trusted(told: Told, rule: str, problems: list[tuple[str, str]]) -> None:
    assert told(rules("" if rule == "{}" else rule)) == problems


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("audiences: ['']", ("HBK0302", "audiences[0]")),
        ("fromParams: ['']", ("HBK0302", "fromParams[0]")),
        ("fromCookies: ['']", ("HBK0302", "fromCookies[0]")),
        ("spaceDelimitedClaims: ['']", ("HBK0302", "spaceDelimitedClaims[0]")),
        (f"spaceDelimitedClaims: [{', '.join('a' * 65)}]", ("HBK0307", "spaceDelimitedClaims")),
        ("fromHeaders: [{name: ''}]", ("HBK0110", "fromHeaders[0].name")),
        ("fromHeaders: [{name: 'a b'}]", ("HBK0110", "fromHeaders[0].name")),
        ("outputPayloadToHeader: 'a:b'", ("HBK0110", "outputPayloadToHeader")),
        ("outputPayloadToHeader: X-Forwarded-Client-Cert", ("HBK0110", "outputPayloadToHeader")),
        ("outputClaimToHeaders: [{header: host, claim: a}]", ("HBK0110", "outputClaimToHeaders[0].header")),
        ("outputClaimToHeaders: [{header: x.a, claim: a}]", ("HBK0110", "outputClaimToHeaders[0].header")),
        ("outputClaimToHeaders: [{header: a, claim: 'a.'}]", ("HBK0110", "outputClaimToHeaders[0].claim")),
        ("outputClaimToHeaders: [{header: a, claim: a}, {header: A, claim: b}]", ("HBK0112", "outputClaimToHeaders[1].header")),
        ("outputPayloadToHeader: X-T, fromHeaders: [{name: x-t}]", ("HBK0110", "outputPayloadToHeader")),
        ("outputPayloadToHeader: cookie, fromCookies: [c]", ("HBK0110", "outputPayloadToHeader")),
        ("outputClaimToHeaders: [{header: Authorization, claim: sub}]", ("HBK0110", "outputClaimToHeaders[0].header")),
        ("timeout: 0s", ("HBK0107", "timeout")),
        ("timeout: 1h", ("HBK0107", "timeout")),
        ("audience: [a]", ("HBK0103", "audience")),
    ],
)
def test_what_can_mean_nothing_is_refused(told: Told, more: str, problem: tuple[str, str]) -> None:
    code, field = problem
    assert told(rules(f"issuer: 'https://idp.example', {more}")) == [(code, f"{RULE}.{field}")]


def test_a_header_for_tokens_of_another_rule_is_not_written_to(told: Told) -> None:
    one, two = "issuer: 'https://a.example', fromHeaders: [{name: x-t}]", "issuer: 'https://b.example', outputPayloadToHeader: x-t"
    assert told(rules(one, two)) == [("HBK0110", "spec.jwtRules[1].outputPayloadToHeader")]
    assert told(rules(f"{one}, outputPayloadToHeader: authorization")) == []


def test_an_issuer_has_one_rule(told: Told) -> None:
    rule = "issuer: 'https://idp.example'"
    assert told(rules(rule, rule)) == [("HBK0326", "spec.jwtRules[1].issuer")]


def test_with_targets_no_sidecar_acts_on_it(told: Told) -> None:
    assert told(HEAD + "spec: {targetRefs: [{kind: Service, name: web}]}\n") == [("HBK0312", "spec.targetRefs")]
