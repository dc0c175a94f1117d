"""The command as a whole: what it says, where, and with which exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hauberk.cli import main
from hauberk.cli.failure import Exit
from hauberk.cli.verbs import Verb, VerbGroup


@pytest.fixture(autouse=True)
def _no_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAUBERK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HAUBERK_RUN_DIR", str(tmp_path / "run"))


def test_without_a_mesh_a_command_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["get", "pods"]) == Exit.UNREACHABLE
    out, err = capsys.readouterr()
    assert out == ""
    assert "the mesh 'default' is not running" in err
    assert "hauberk up --detach --wait" in err


@pytest.mark.parametrize(
    "line", ["nope", "get", "get nokind", "scale web", "get pods -o xml", "apply", "run web", "port-forward web 0", "exec web"]
)
def test_wrong_usage_ends_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(line.split()) == Exit.USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_a_file_that_is_not_there_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["apply", "-f", "/nowhere.yaml"]) == Exit.USAGE
    assert "cannot read /nowhere.yaml" in capsys.readouterr().err


def test_the_mesh_may_be_named_before_or_after_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["--mesh", "blue", "status"], ["status", "--mesh", "blue"]):
        assert main.main(line) == Exit.UNREACHABLE
        assert "the mesh 'blue' is not running" in capsys.readouterr().err


def test_a_name_that_no_mesh_can_have_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["status", "--mesh", "../etc"]) == Exit.USAGE
    assert "is not a name for a mesh" in capsys.readouterr().err


def test_dry_run_needs_no_mesh_and_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "web", "--port", "http:80", "--dry-run", "-o", "json", "--", "sleep", "1"]) == Exit.DONE
    document = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in document["items"]] == ["ServiceAccount", "Service", "Deployment"]


def test_who_leaves_the_sidecar_out_is_told_what_is_out_of_reach_then(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "--help"]) == Exit.DONE
    assert "no ClusterIPs" in " ".join(capsys.readouterr().out.split())


def test_a_problem_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["help", "errors", "hbk0103"]) == Exit.DONE
    assert "The field is unknown" in capsys.readouterr().out


def test_every_command_loads_has_an_example_and_says_in_the_list_what_its_help_says() -> None:
    context = main.root.make_context("hauberk", ["version"])

    def verify(group: VerbGroup) -> None:
        for name, entry in group.entries.items():
            command = group.get_command(context, name)
            assert isinstance(command, Verb | VerbGroup)
            assert command.name == name
            assert command.examples, name
            assert command.help, name
            assert entry.summary.endswith("."), name
            if isinstance(command, VerbGroup):
                verify(command)

    assert isinstance(main.root, VerbGroup)
    verify(main.root)


SLOW = ("rich", "yaml", "pydantic", "grpc", "asyncio", "http.client")


def _loaded_by(*arguments: str) -> set[str]:
    """The slow modules that a command has loaded by its end."""
    script = f"import sys; from hauberk.cli import main; main.main({list(arguments)!r}); print('\\n'.join(sys.modules), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name for name in ran.stderr.split() if name.startswith((*SLOW, "hauberk."))}


def test_help_loads_no_command_and_nothing_slow() -> None:
    loaded = _loaded_by("--help")
    assert "hauberk.cli.main" in loaded
    assert not {name for name in loaded if name.startswith((*SLOW, "hauberk.cli.get"))}


def test_get_loads_nothing_slow() -> None:
    loaded = _loaded_by("get", "pods")
    assert "hauberk.cli.get" in loaded
    assert not {name for name in loaded if name.startswith(SLOW)}


def test_a_failure_of_our_own_asks_for_v_and_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(main, "_invoke", broken)
    assert main.main(["get", "pods"]) == Exit.FAILED
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "-v" in err
