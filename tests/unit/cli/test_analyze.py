"""`hauberk analyze -f`: no mesh is needed; the exit code says whether there is something to correct."""

import json
from pathlib import Path

import pytest

from hauberk.cli.main import main

RIGHT = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/web]}}], to: [{operation: {methods: [GET]}}]}]}
"""
DOUBTFUL = RIGHT.replace("[GET]", "[get]")
WRONG = RIGHT.replace("methods:", "method:")


def run(path: Path, text: str, *arguments: str) -> int:
    (path / "policy.yaml").write_text(text)
    return main(["analyze", "-f", str(path / "policy.yaml"), *arguments])


@pytest.mark.parametrize(("text", "code", "strict"), [(RIGHT, 0, 0), (DOUBTFUL, 0, 1), (WRONG, 1, 1)])
def test_errors_fail_and_warnings_do_if_asked_to(tmp_path: Path, text: str, code: int, strict: int) -> None:
    assert run(tmp_path, text) == code
    assert run(tmp_path, text, "--strict") == strict


def test_each_problem_is_told_with_its_place_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, DOUBTFUL)
    said = capsys.readouterr().out
    assert "policy.yaml:5:" in said
    assert "[HBK0355]" in said
    assert "do: write GET" in said
    assert said.endswith("0 errors, 1 warning, 0 infos\n")
    run(tmp_path, RIGHT)
    assert capsys.readouterr().out == "no problem found\n"


def test_infos_are_shown_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = RIGHT.replace("from: [{source: {principals: [cluster.local/ns/default/sa/web]}}], ", "")
    run(tmp_path, public)
    assert capsys.readouterr().out == "0 errors, 0 warnings, 1 info (--all shows it)\n"
    run(tmp_path, public, "--all")
    assert "[HBK0354]" in capsys.readouterr().out


def test_documents_have_the_problems_and_their_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, DOUBTFUL, "-o", "json", "-n", "shop")
    document = json.loads(capsys.readouterr().out)
    assert (document["errors"], document["warnings"], document["infos"]) == (0, 1, 0)
    assert document["problems"][0]["object"] == "AuthorizationPolicy/shop/orders"


def test_only_files_can_be_held_against_the_mesh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", "--live"]) == 2
    assert "-f FILE" in capsys.readouterr().err
