"""The demo proves itself: these tests run it as its users do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e import unprivileged

from hauberk.demo import probes

ROOT = os.geteuid() == 0
DEMO = (sys.executable, "-m", "hauberk", "demo")


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "HAUBERK_MESH": f"demo-{os.getpid()}"}


def _verify(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.stdout, ran.stderr
    found = json.loads(ran.stdout)
    failed = [f"{each['name']}: {each['evidence']}" for each in found["checks"] if not each["passed"]]
    assert not failed, "\n".join(failed)
    assert ran.returncode == 0
    assert len(found["checks"]) == 11


def test_the_demo_verifies_itself(environment: dict[str, str]) -> None:
    _verify(subprocess.run([*DEMO, "--check", "-o", "json"], env=environment, text=True, capture_output=True, timeout=300, check=False))


@pytest.mark.skipif(not ROOT, reason="the test above is this one, for whoever is not root")
def test_the_demo_verifies_itself_without_privileges() -> None:
    _verify(unprivileged.run([*DEMO, "--check", "-o", "json"], timeout=300))


def test_the_live_view_leaves_a_picture_and_ends_by_itself(environment: dict[str, str], tmp_path: Path) -> None:
    picture = tmp_path / "live.svg"
    ran = subprocess.run(
        [*DEMO, "--snapshot", str(picture), "--for", "6s"], env=environment, text=True, capture_output=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    text = picture.read_text(encoding="utf-8")
    for shown in ("frontend", "catalog", "TLSv1.3", "12/12"):
        assert shown in text


def test_an_interrupted_demo_ends_in_order(environment: dict[str, str]) -> None:
    with subprocess.Popen([*DEMO], env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert any("no terminal" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert "nothing is left" in process.stderr.read()
        assert process.wait(60) == 0


def test_the_escape_probe_would_notice_an_escape() -> None:
    ran = subprocess.run([sys.executable, "-c", probes.ESCAPE, json.dumps(["/proc/self"])], text=True, capture_output=True, check=True)
    found = json.loads(ran.stdout)
    assert "path /proc/self" in found["reached"]
    assert found["tried"] > 8
