"""Problems and their codes are a public contract."""

import re

import pytest

from hauberk.api.problem import Problem, has_errors, problem
from hauberk.api.problem_codes import CODES


def test_a_problem_has_the_fields_that_the_command_line_promises() -> None:
    assert list(problem("HBK0103", "unknown").to_json()) == [
        *("code", "severity", "object", "path", "file", "line", "column", "message", "remedy"),
    ]


def test_severity_and_remedy_come_from_the_code_unless_given() -> None:
    assert problem("HBK0201", "x").severity == "info"
    assert problem("HBK0201", "x").remedy == CODES["HBK0201"].remedy
    assert problem("HBK0201", "x", severity="error", remedy="y").remedy == "y"


def test_a_problem_survives_being_json_also_that_of_a_newer_version() -> None:
    said = problem("HBK0103", "unknown", file="a.yaml", line=3, column=4, path="spec.x", object="Pod/default/a")
    assert Problem.from_json({**said.to_json(), "new": 1}) == said


def test_only_errors_stop_an_apply() -> None:
    assert not has_errors([problem("HBK0202", "x"), problem("HBK0201", "x")])
    assert has_errors([problem("HBK0202", "x"), problem("HBK0101", "x")])


def test_a_problem_reads_as_one_line_with_its_place() -> None:
    said = problem("HBK0103", "unknown field", file="a.yaml", line=3, column=4, path="spec.x", object="Pod/default/a")
    assert str(said) == "error HBK0103: a.yaml:3:4 Pod/default/a spec.x: unknown field"


@pytest.mark.parametrize("code", CODES.values(), ids=lambda each: each.code)
def test_every_code_has_a_title_an_explanation_and_a_remedy(code: object) -> None:
    known = CODES[getattr(code, "code", "")]
    assert re.fullmatch(r"HBK\d{4}", known.code)
    assert known.title[0].isupper() and not known.title.endswith(".")
    assert known.explanation.endswith(".")
    assert known.remedy[0].islower() and not known.remedy.endswith(".")
