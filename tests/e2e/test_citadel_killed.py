"""An exchange of roots that is killed anywhere goes on: forwards, and on its way back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("options", [[], ["--back"]], ids=["forwards", "back"])
def test_whoever_is_killed_at_any_touch_of_the_disk_goes_on(options: list[str]) -> None:
    command = [sys.executable, "-m", "tests.e2e.citadel_victim", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["unhurt"] == ""
    assert result["wrong"] == {}
    assert result["touches"] > 40
