"""The commands in the documentation do what it says: each page is run from top to bottom, in a mesh and a directory of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
# In a page of the documentation the class `run` marks commands and `file NAME` a file's content; in the README, which is read where such
# marks would show, a comment before the block does.
BLOCK = re.compile(
    r"```\{code-block\} (?P<language>\w+)\n:class: (?P<what>run fails|run|file (?P<name>\S+))\n\n(?P<body>.*?)```"
    r"|<!-- run -->\n```console\n(?P<readme>.*?)```",
    re.DOTALL,
)
PAGES = (
    "README.md",
    "docs/tutorial/your-first-mesh.md",
    "docs/tutorial/lock-down-a-shop.md",
    "docs/tutorial/rotate-everything.md",
    "docs/how-to/add-a-machine.md",
    "docs/how-to/audit-with-proofs.md",
    "docs/how-to/deny-by-default.md",
    "docs/how-to/external-authorization.md",
    "docs/how-to/federate.md",
    "docs/how-to/jwt-with-your-identity-provider.md",
    "docs/how-to/limit-requests.md",
    "docs/how-to/mesh-two-programs.md",
    "docs/how-to/plug-in-your-ca.md",
    "docs/how-to/recover-from-a-lost-key.md",
    "docs/how-to/revoke-an-identity.md",
    "docs/how-to/spiffe-identities.md",
    "docs/how-to/test-policies-in-ci.md",
    "docs/how-to/try-a-policy-in-dry-run.md",
    "docs/how-to/why-was-it-denied.md",
)
TRIED_BY_ITSELF = "docs/how-to/test-with-a-mesh.md"  # its programs are tests: test_mesh_guide.py
NEEDS_A_MESH = (
    "docs/how-to/audit-with-proofs.md",
    "docs/how-to/deny-by-default.md",
    "docs/how-to/external-authorization.md",
    "docs/how-to/federate.md",
    "docs/how-to/jwt-with-your-identity-provider.md",
    "docs/how-to/limit-requests.md",
    "docs/how-to/mesh-two-programs.md",
    "docs/how-to/plug-in-your-ca.md",
    "docs/how-to/recover-from-a-lost-key.md",
    "docs/how-to/revoke-an-identity.md",
    "docs/how-to/spiffe-identities.md",
    "docs/how-to/try-a-policy-in-dry-run.md",
    "docs/how-to/why-was-it-denied.md",
)


@dataclass(frozen=True)
class Step:
    """A command with what is expected of it, or a file to write."""

    command: str = ""
    fails: bool = False
    file: str = ""
    text: str = ""


def steps(page: str) -> Iterator[Step]:
    """What a page tells its reader to do, in order."""
    for match in BLOCK.finditer((TOP / page).read_text(encoding="utf-8")):
        if match["name"]:
            yield Step(file=match["name"], text=match["body"])
            continue
        for line in (match["readme"] or match["body"]).splitlines():
            if line.startswith("$ "):
                yield Step(command=line.removeprefix("$ "), fails=match["what"] == "run fails")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A user's shell: `hauberk` in the PATH, a directory of one's own, no mesh yet."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "hauberk").write_text(f'#!/bin/sh\nexec {sys.executable} -m hauberk "$@"\n')
    (tools / "hauberk").chmod(0o755)
    given = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "HAUBERK_MESH": f"docs-{os.getpid()}"}
    yield given
    _run("hauberk down --purge", given, tmp_path)


def _run(command: str, environment: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], env=environment, cwd=directory, text=True, capture_output=True, timeout=120, check=False)


def test_every_page_that_marks_what_is_to_be_run_is_run() -> None:
    marked = (page for page in (TOP / "docs").rglob("*.md") if ":class: run" in page.read_text(encoding="utf-8"))
    assert {str(page.relative_to(TOP)) for page in marked} <= {*PAGES, TRIED_BY_ITSELF}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_it_says(page: str, environment: dict[str, str], tmp_path: Path) -> None:
    found = list(steps(page))
    assert len([step for step in found if step.command]) >= 5
    # What a page tells its reader to install; the same is installed here.
    (tmp_path / "venv").symlink_to(sys.prefix)
    if page in NEEDS_A_MESH:
        assert _run("hauberk up --detach --wait", environment, tmp_path).returncode == 0
    for step in found:
        if step.file:
            (tmp_path / step.file).write_text(step.text, encoding="utf-8")
            continue
        ran = _run(step.command, environment, tmp_path)
        assert (ran.returncode != 0) is step.fails, f"{step.command}: exit {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
