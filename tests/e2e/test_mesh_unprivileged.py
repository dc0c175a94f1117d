"""What was proven on a running mesh as root is true for a user without privileges."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.e2e import unprivileged


@pytest.mark.skipif(os.geteuid() != 0, reason="this is what it is run by")
def test_all_that_is_proven_on_a_mesh_holds_without_privileges() -> None:
    here = Path(__file__)
    files = sorted(str(each) for each in here.parent.glob("test_mesh_*.py") if each != here)
    done = unprivileged.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files])
    assert done.returncode == 0, done.stdout + done.stderr
