import pytest

from hauberk.policytest.read import read_test_file

WHOLE = """
objects: [./policies, ./services.yaml]
tests:
- name: a reader may not write
  request:
    from: shop/frontend
    fromTrustDomain: cluster.local
    fromAddress: 10.1.2.3
    to: orders.shop
    port: 80
    method: POST
    path: /orders/17?x=1
    host: orders.shop
    headers: {X-Tenant: acme, x-many: [a, b]}
    sni: outbound_.80_._.orders.shop.svc.cluster.local
    claims: {iss: https://idp, sub: jo, groups: [reader]}
  expect: deny
  by: shop/orders-write
  dryRun: {shop/next: deny}
- name: a workload by its labels
  request: {workload: {namespace: shop, labels: {app: x}}, port: 80, path: /}
  expect: allow
  by: none
"""


def test_every_field_of_the_contract_is_read() -> None:
    file, problems = read_test_file(WHOLE, "x.test.yaml")
    assert not problems
    assert file.objects == ("./policies", "./services.yaml")
    first, second = file.cases
    assert (first.question.source, first.question.to, first.question.path) == ("shop/frontend", "orders.shop", "/orders/17?x=1")
    assert first.question.headers == {"x-tenant": ("acme",), "x-many": ("a", "b")}
    assert (first.expect, first.by, first.dry_run, first.place) == ("deny", "shop/orders-write", {"shop/next": "deny"}, "x.test.yaml:4")
    assert (second.question.namespace, second.question.labels, second.by) == ("shop", {"app": "x"}, "none")


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("tests: [{name: a, request: {to: x}, expct: deny}]", "1:37", "no field 'expct'"),
        ("tests: [{name: a, request: {to: x}}]", "1:9", "expect is required"),
        ("tests: [{name: a, request: {to: x}, expect: maybe}]", "1:45", "no expectation"),
        ("tests: [{request: {to: x}, expect: deny}]", "1:9", "name is required"),
        ("tests: [{name: a, request: {from: frontend, to: x}, expect: deny}]", "1:35", "no service account"),
        ("tests: [{name: a, request: {to: x, port: '80'}, expect: deny}]", "1:42", "no port number"),
        ("tests: [{name: a, request: {to: x, headers: {a: 1}}, expect: deny}]", "1:45", "must be a text"),
        ("tests: [{name: a, request: {to: x, workload: {labels: {a: b}}}, expect: deny}]", "1:46", "exclude each other"),
        ("tests: [{name: a, request: {}, expect: deny}]", "1:28", "whom does it call"),
        ("tests: [{name: a, request: {to: x}, expect: deny, by: orders}]", "1:55", "is no policy"),
        ("tests: {a: b}", "1:8", "must be a list"),
        ("objects: []", "1:1", "tests is required"),
        ("tests: [", "2:1", ""),
        ("", "", "there are no tests"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, where: str, said: str) -> None:
    _, problems = read_test_file(text, "x.test.yaml")
    assert len(problems) == 1
    assert said in problems[0].message
    assert problems[0].place == f"x.test.yaml{':' if where else ''}{where}"


def test_every_mistake_is_told_at_once() -> None:
    wrong = """
objets: [shop.yaml]
tests:
- {name: a, request: {form: shop/web, methd: GET, to: x}, expect: denied, by: me, dryRun: maybe}
- {nam: b, by: you}
"""
    _, problems = read_test_file(wrong, "x.test.yaml")
    assert [each.message for each in problems] == [
        "there is no field 'objets' here",
        "there is no field 'form' here",
        "there is no field 'methd' here",
        "'denied' is no expectation",
        "'me' is no policy",
        "'maybe' is no expectation",
        "there is no field 'nam' here",
        "'you' is no policy",
    ]


def test_what_is_right_is_kept_beside_what_is_wrong() -> None:
    file, problems = read_test_file(
        "tests:\n- {name: a, request: {to: x}, expect: deny}\n- {name: a, request: {to: x}, expect: deny}\n", "x"
    )
    assert [each.name for each in file.cases] == ["a"]
    assert "used in line 2" in problems[0].message


def test_a_near_word_is_proposed() -> None:
    _, problems = read_test_file("tests: [{name: a, request: {to: x}, expect: alow}]", "x")
    assert problems[0].remedy == "did you mean allow?"
