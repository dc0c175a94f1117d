"""What is proven of a process of this machine."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hauberk.linux.evidence import LARGEST_PROGRAM, Examiner, Unprovable


@contextmanager
def running(program: Path | bytes, size: int | None = None) -> Iterator[int]:
    """A pidfd of a process whose program is `program`, a copy of `cat` with a hole at its end if it is to have that size."""
    cat = shutil.which("cat")
    assert cat
    shutil.copy(cat, os.fsdecode(program))
    if size is not None:
        os.truncate(program, size)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        pidfd = os.pidfd_open(process.pid)
        try:
            yield pidfd
        finally:
            os.close(pidfd)
            process.kill()


def examined(pidfd: int, *, digest: bool = True) -> dict[str, str]:
    return Examiner().examine(pidfd, uid=os.geteuid(), gid=os.getegid(), digest=digest)


def test_a_process_is_its_user_its_program_and_the_programs_content(tmp_path: Path) -> None:
    with running(tmp_path / "program") as pidfd:
        evidence = examined(pidfd)
    content = (tmp_path / "program").read_bytes()
    assert evidence["path"] == str(tmp_path / "program")
    assert evidence["sha256"] == hashlib.sha256(content).hexdigest()
    assert evidence["uid"] == str(os.geteuid())


def test_a_program_that_seems_endless_is_not_read(tmp_path: Path) -> None:
    with running(tmp_path / "program", LARGEST_PROGRAM + 1) as pidfd:
        with pytest.raises(Unprovable, match="larger than 1 GiB"):
            examined(pidfd)
        assert "sha256" not in examined(pidfd, digest=False)


def test_a_program_whose_name_is_no_text_has_no_path(tmp_path: Path) -> None:
    with running(os.fsencode(tmp_path) + b"/\xff") as pidfd:
        evidence = examined(pidfd)
    assert "path" not in evidence and "sha256" in evidence
