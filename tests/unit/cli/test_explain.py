import json
from pathlib import Path

import pytest

from hauberk.cli import explain_view
from hauberk.cli.main import main

FILES = """
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {selector: {app: orders}, ports: [{name: http, port: 80}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders, namespace: shop}
spec:
  rules:
  - from: [{source: {namespaces: [shop]}}]
    to: [{operation: {methods: [GET]}}]
"""
ASK = ("--from", "shop/frontend", "--to", "orders", "POST", "/orders/17")


@pytest.fixture
def files(tmp_path: Path) -> str:
    (tmp_path / "shop.yaml").write_text(FILES)
    return str(tmp_path / "shop.yaml")


def test_files_are_asked_without_a_mesh(files: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", files, *ASK]) == 0
    told = capsys.readouterr().out
    assert told.startswith("DENY 403  no ALLOW rule matches; nearest is AuthorizationPolicy")
    assert 'smallest change: add "POST" at spec.rules[0].to[0].operation.methods' in told
    assert "rule 0  method is POST; needs [GET]" in told


def test_the_document_is_all_that_is_printed(files: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", files, *ASK, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["question"]["method"]) == ("deny", "POST")
    assert found["policies"][0]["failedClause"]["line"] == 13


def test_claims_are_read_from_a_file(files: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "claims.json").write_text('{"iss": "me"}')
    assert main(["explain", "-f", files, *ASK, "--jwt", str(tmp_path / "claims.json"), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["question"]["claims"] == {"iss": "me"}


def test_a_token_is_not_printed(files: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("Bearer a.b.c")
    assert main(["explain", "-f", files, *ASK, "--jwt", str(tmp_path / "token"), "-o", "json"]) == 0
    assert "a.b.c" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "orders", "--header", "x"), "write NAME:VALUE"),
        (("GET", "/"), "whom does it call"),
        (("--to", "orders", "POST"), "a request has METHOD and PATH"),
        (("--request-id", "1", "--to", "x"), "goes with no other question"),
        (("--to", "x", "--at", "2026-07-01"), "a mesh's past"),
    ],
)
def test_wrong_questions_are_wrong_usage(files: str, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", files, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_who_is_not_in_the_files_has_to_be_added_to_them(files: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", files, "--to", "ordrs.elsewhere", "GET", "/"]) == 1  # as of a running mesh
    told = capsys.readouterr().err
    assert "there is no service or pod 'ordrs' in namespace 'elsewhere'" in told
    assert "add it to the files, as a mesh has it: hauberk get svc ordrs -n elsewhere -o yaml" in told
    assert "write SERVICE.NAMESPACE" not in told


def test_a_file_with_an_error_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop.yaml").write_text(FILES.replace("methods", "method"))
    assert main(["explain", "-f", str(tmp_path / "shop.yaml"), *ASK]) == 1
    assert "shop.yaml:13:" in capsys.readouterr().err


def test_an_answer_fits_a_narrow_terminal_and_keeps_control_characters_out() -> None:
    layer = {"name": "route", "outcome": "pass", "because": "a long reason " * 20 + "\x1b[31m"}
    answer = {"verdict": "allow", "status": None, "reason": "why " * 40, "layers": [layer], "policies": [], "workloads": []}
    lines = list(explain_view.lines(answer, width=60))
    assert max(map(len, lines)) <= 60
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ({"policy": "shop/next", "rule": "1", "reason": None}, "enforced: deny by shop/next, rule 1"),
        ({"policy": None, "rule": None, "reason": "ambiguous path"}, "enforced: deny: ambiguous path"),
    ],
)
def test_who_would_refuse_on_trial_is_told(by: dict[str, str | None], told: str) -> None:
    answer = {"verdict": "allow", "reason": "r", "layers": [], "workloads": [], "dryRun": {"verdict": "deny", **by}}
    assert told in "\n".join(explain_view.lines(answer, width=100))


@pytest.mark.parametrize(
    ("tried", "told"),
    [
        ({"verdict": "allow", "policy": "shop/orders", "rule": "0"}, False),
        ({"verdict": "allow", "policy": "shop/orders", "rule": "1"}, True),
        ({"verdict": "deny", "policy": None, "rule": None}, True),
    ],
)
def test_a_trial_is_told_of_where_it_would_differ(tried: dict[str, str | None], told: bool) -> None:
    decided = {"policy": "shop/orders", "rule": "0"}
    answer = {"verdict": "allow", "reason": "r", "decidedBy": decided, "layers": [], "workloads": [], "dryRun": tried}
    assert ("dry run" in "\n".join(explain_view.lines(answer))) is told
    assert "dry run" in "\n".join(explain_view.lines(answer, wide=True))


def test_workloads_that_differ_are_told() -> None:
    workloads = [{"pods": [name], "verdict": verdict, "reason": "r"} for name, verdict in (("a", "deny"), ("b", "allow"))]
    answer = {"verdict": "deny", "reason": "r", "layers": [], "workloads": workloads}
    told = "\n".join(explain_view.lines(answer))
    assert "differ" in told
    assert "allow: b (r)" in told
