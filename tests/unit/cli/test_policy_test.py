import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from tests.unit.cli.test_explain import FILES
from tests.unit.explain.meshes import AUTHORIZER, CUSTOM

from hauberk.cli.main import main

TESTS = """
objects: [./shop.yaml]
tests:
- name: reads
  request: {from: shop/frontend, to: orders.shop, method: GET, path: /}
  expect: allow
- name: writes
  request: {from: shop/frontend, to: orders.shop, method: POST, path: /}
  expect: %s
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(FILES)
    (tmp_path / "a.test.yaml").write_text(TESTS % "deny")
    return tmp_path


def test_passing_tests_end_with_0(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(directory / "a.test.yaml")]) == 0
    assert "2 of 2 tests passed" in capsys.readouterr().out


def test_a_test_that_depends_on_an_external_service_has_a_note(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "ask.yaml").write_text(f"{AUTHORIZER}---{CUSTOM % 'ask'}")
    arguments = ["test", str(directory / "a.test.yaml"), "-f", str(directory / "ask.yaml")]
    assert main(arguments) == 0
    assert "NOTE" in (told := capsys.readouterr().out)
    assert "writes: AuthorizationPolicy shop/ask, rule 0 asks the external service ask" in told
    assert main([*arguments, "-o", "json"]) == 0
    notes = [each["note"] for each in json.loads(capsys.readouterr().out)["results"]]
    assert [bool(each) for each in notes] == [False, True]


def test_of_a_directory_every_test_is_taken_and_none_for_an_object(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "b.test.yaml").write_text(TESTS.replace("./shop.yaml", ".") % "allow")
    assert main(["test", str(directory), "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["tests"], found["failed"], found["passed"]) == (4, 1, False)
    failed = next(each for each in found["results"] if not each["passed"])
    assert failed["faults"][0].startswith("expected allow, got deny (no ALLOW rule matches; nearest")
    assert failed["explanation"]["policies"]


def test_objects_that_are_not_there_are_told_beside_mistakes_in_the_tests(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "a.test.yaml").write_text(TESTS.replace("shop.yaml", "nonsuch.yaml") % "denied")
    assert main(["test", str(directory / "a.test.yaml")]) == 2
    told = capsys.readouterr().err
    assert "'denied' is no expectation" in told
    assert "nonsuch.yaml" in told


def test_more_objects_can_be_added(directory: Path, tmp_path: Path) -> None:
    metadata = "apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: d, namespace: shop}"
    deny = f"{{{metadata}, spec: {{action: DENY, rules: [{{}}]}}}}"
    (tmp_path / "more.yaml").write_text(deny)
    assert main(["test", str(directory / "a.test.yaml"), "-f", str(tmp_path / "more.yaml")]) == 1


def test_junit_is_written(directory: Path) -> None:
    (directory / "a.test.yaml").write_text(TESTS % "allow")
    assert main(["test", str(directory / "a.test.yaml"), "--junit", str(directory / "out.xml")]) == 1
    root = Xml.parse(directory / "out.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    failure = root.find(".//failure")
    assert failure is not None
    assert "method is POST; needs [GET]" in (failure.text or "")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("tests: [{name: a, request: {to: x}, expect: no}]", 2, "is no expectation"),
        ("objects: [./none.yaml]\ntests: [{name: a, request: {to: x}, expect: deny}]", 2, "cannot read"),
        ("objects: [./wrong.yaml]\ntests: [{name: a, request: {to: x}, expect: deny}]", 1, "the objects have errors"),
    ],
)
def test_wrong_files_are_told(directory: Path, text: str, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "wrong.yaml").write_text("kind: Nothing\napiVersion: v1\n")
    (directory / "a.test.yaml").write_text(text)
    assert main(["test", str(directory / "a.test.yaml")]) == code
    assert said in capsys.readouterr().err
