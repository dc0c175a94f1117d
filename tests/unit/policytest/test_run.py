from unittest.mock import Mock
from xml.etree import ElementTree as Xml

import pytest
from tests.unit.explain.meshes import AUTHORIZER, CUSTOM, ORDERS, POLICY

from hauberk.api.manifest import parse_manifest
from hauberk.policy.decision import build_ruleset
from hauberk.policytest.case import Result
from hauberk.policytest.junit import junit
from hauberk.policytest.mesh import TestedMesh
from hauberk.policytest.read import read_test_file
from hauberk.policytest.run import run_case

NEXT = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: next, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec: {action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}
"""


def run(tests: str, *objects: str) -> list[Result]:
    file, problems = read_test_file(f"tests:\n{tests}", "x.test.yaml")
    assert not problems, problems
    manifest = parse_manifest("\n---\n".join(objects or (ORDERS, POLICY)), "shop.yaml")
    mesh = TestedMesh(manifest, [each.question for each in file.cases])
    return [run_case(each, mesh) for each in file.cases]


def one(request: str, expect: str, *objects: str) -> Result:
    return run(f"- {{name: a, request: {request}, {expect}}}", *objects)[0]


GET = "{from: shop/frontend, to: orders.shop, method: GET, path: /}"
POST = "{from: shop/frontend, to: orders.shop, method: POST, path: /}"


def test_what_is_as_expected_passes() -> None:
    assert one(GET, "expect: allow, by: shop/orders-write").passed
    assert one(POST, "expect: deny, by: none").passed
    assert one("{to: orders.shop, path: /}", "expect: deny").passed


def test_a_failure_says_what_was_expected_what_came_and_why() -> None:
    result = one(POST, "expect: allow")
    assert result.faults[0].startswith("expected allow, got deny (no ALLOW rule matches; nearest is")
    assert result.explanation is not None
    assert result.explanation.answer.policies[0].rules


def test_another_decider_than_expected_is_a_failure() -> None:
    assert one(GET, "expect: allow, by: shop/other").faults == ("expected allow by shop/other, got allow by shop/orders-write, rule 1",)
    assert "expected allow by no rule" in one(GET, "expect: allow, by: none").faults[0]


def test_a_service_that_does_not_exist_is_an_error_and_never_the_expected_denial() -> None:
    result = one("{to: ordrs.shop, path: /}", "expect: deny")
    assert not result.passed
    assert "ordrs" in result.error


def test_verdicts_of_dry_run_policies_are_held_against_their_expectation() -> None:
    assert one(GET, "expect: allow, dryRun: {shop/next: deny}", ORDERS, POLICY, NEXT).passed
    assert one(GET, "expect: allow, dryRun: deny", ORDERS, POLICY, NEXT).passed
    assert "got deny" in one(GET, "expect: allow, dryRun: {shop/next: allow}", ORDERS, POLICY, NEXT).faults[0]
    assert "no such dry-run policy" in one(GET, "expect: allow, dryRun: {shop/none: deny}", ORDERS, POLICY, NEXT).faults[0]


def test_that_a_verdict_takes_an_external_service_s_yes_for_granted_is_noted() -> None:
    asked = one(POST, "expect: allow", ORDERS, AUTHORIZER, CUSTOM % "ask")
    assert asked.passed
    assert asked.note == "AuthorizationPolicy shop/ask, rule 0 asks the external service ask, and what it answers is not known here"
    assert asked.note in junit([asked], [""])
    assert one(GET, "expect: allow", ORDERS, AUTHORIZER, CUSTOM % "ask").note == ""


def test_a_workload_that_only_a_test_knows_answers_in_that_test_alone() -> None:
    own = "{from: shop/frontend, workload: {namespace: shop, labels: {app: orders, version: v9}}, port: 8080, method: GET, path: /}"
    first, second = run(f"- {{name: a, request: {own}, expect: allow}}\n- {{name: b, request: {GET}, expect: allow}}")
    assert first.passed
    assert first.explanation is not None
    assert second.explanation is not None
    assert second.explanation.answer.workloads == ("orders",)


def test_a_caller_of_another_trust_domain_is_let_as_far_as_the_policies() -> None:
    result = one("{from: shop/admin, fromTrustDomain: partner.org, to: orders.shop, method: PUT, path: /}", "expect: deny, by: none")
    assert result.passed, result.faults
    assert result.explanation is not None
    assert result.explanation.answer.layers[2].outcome == "pass"


def test_junit_counts_and_tells_what_failed() -> None:
    wanted = (("a", GET, "allow"), ("b", POST, "allow"), ("c", "{to: x.y}", "deny"))
    results = run("\n".join(f"- {{name: {name}, request: {asked}, expect: {word}}}" for name, asked, word in wanted))
    root = Xml.fromstring(junit(results, ["", "why \x00", ""]))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    failure = suite.find("testcase[@name='b']/failure")
    assert failure is not None
    assert failure.text == "why \ufffd"


def test_for_hundreds_of_cases_policies_are_made_ready_once(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Mock(wraps=build_ruleset)
    monkeypatch.setattr("hauberk.explain.rulesets.build_ruleset", build)
    results = run("\n".join(f"- {{name: a{number}, request: {GET.replace('/}', f'/{number}}}')}, expect: allow}}" for number in range(300)))
    assert all(each.passed for each in results)
    assert build.call_count == 1
