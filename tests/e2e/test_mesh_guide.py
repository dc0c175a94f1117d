"""The page that tells users how to test with a mesh: its files, written down and run as the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/test-with-a-mesh.md"
FILE = re.compile(r"```\{code-block\} \w+\n:class: file (?P<name>\S+)\n\n(?P<text>.*?)```", re.DOTALL)


def test_the_tests_of_the_page_pass_in_a_project_of_their_own(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    files = {match["name"]: match["text"] for match in FILE.finditer(PAGE.read_text(encoding="utf-8"))}
    assert {"orders.py", "orders-policy.yaml", "test_orders.py", "test_rotation.py"} == files.keys()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    options = ["--mesh-rootless"] if request.config.getoption("--mesh-rootless") else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
