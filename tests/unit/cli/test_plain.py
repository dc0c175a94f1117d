"""What others wrote does not command a terminal."""

import pytest

from hauberk.cli import connection, table
from hauberk.cli.failure import Failure
from hauberk.cli.plain import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("größer als 日本", "größer als 日本"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("a\u202etxt.exe", "a\\u202etxt.exe"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_cell_cannot_begin_a_row() -> None:
    assert table.columns(("PATH",), [["/a\nNAME  evil"], [table.bad("/\x1b[2J")]]) == ["PATH", "/a\\nNAME  evil", "/\\x1b[2J"]


def test_a_problem_cannot_begin_a_line() -> None:
    told = {"severity": "error", "object": "Pod/default/a\nb", "path": "x", "message": "\x1b[2Jc", "code": "HBK0108", "file": "y\n.yaml"}
    lines = list(connection.problem_lines(told))
    assert all(line.isprintable() for line in lines)


def test_a_failure_says_each_part_on_one_line() -> None:
    assert Failure("a\nb", "c\x1b[2Jd", "e").lines() == ("error: a b", "  why: c\\x1b[2Jd", "   do: e")
