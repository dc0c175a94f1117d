"""The engine on the table of tokens; tests/e2e/test_dataplane_jwt.py asks a real Envoy the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.unit.policy.jwt_cases import CASES, NOW, Case, authentications

from hauberk.mesh.issuer_keys import NO_KEYS, keys_of
from hauberk.policy.authentication import authenticate
from hauberk.policy.jwt import Issuer
from hauberk.policy.request import Request

# The moment in which the tokens were made, however long the tests before these have taken.
WHEN = datetime.fromtimestamp(NOW, UTC)


def issuers(rules: str) -> list[Issuer]:
    found = sorted((rule for each in authentications(rules) for rule in each.spec.jwt_rules), key=lambda rule: rule.issuer)
    return [Issuer(rule, keys_of(rule, NO_KEYS).jwks) for rule in found]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_engine_says_what_the_table_says(case: Case) -> None:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in case.headers:
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    found = authenticate(Request(port=8080, path=f"/{case.query}", headers=headers), issuers(case.rules), WHEN)
    assert found.status == case.status, found.reason
    if case.status == 200:
        assert (None if found.claims is None else found.claims.get("sub", "")) == case.subject
    elif case.reason:
        assert found.reason == case.reason
