"""What was proven of machines as root is true for users without privileges: a mesh that listens, and an agent that joins it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.e2e import unprivileged

# One of each kind: a machine takes part, starts again, may nothing of others', and is put out.
_SOME = "second_machine or starts_again or changes_nothing or banned"


@pytest.mark.skipif(os.geteuid() != 0, reason="this is what it is run by")
def test_machines_join_and_are_put_out_without_privileges() -> None:
    file = Path(__file__).parent / "test_machines.py"
    done = unprivileged.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(file), "-k", _SOME])
    assert done.returncode == 0, done.stdout + done.stderr
