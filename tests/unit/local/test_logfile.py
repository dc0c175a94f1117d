"""Logs of the mesh's own processes stay small."""

import json
import os
from pathlib import Path

from hauberk.local import logfile


def test_a_log_that_grew_too_large_begins_anew_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "agent.log"
    descriptor = logfile.open_log(path)
    os.write(descriptor, b"a" * 50 + b"b" * 100)
    assert logfile.bound(path, 100)
    assert path.with_name("agent.log.1").read_bytes() == b"b" * 100
    os.write(descriptor, b"more")
    assert path.read_bytes() == b"more"
    assert not logfile.bound(path, 100)
    assert [file.stat().st_mode & 0o777 for file in path.parent.iterdir()] == [0o600, 0o600]
    os.close(descriptor)


def test_a_log_that_does_not_exist_is_small_enough(tmp_path: Path) -> None:
    assert not logfile.bound(tmp_path / "absent.log")
    assert logfile.tail(tmp_path / "absent.log") == ()


def test_the_last_lines_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join(map(str, range(10000))))
    assert logfile.tail(tmp_path / "log", 2) == ("9998", "9999")


def test_a_line_is_one_json_document(tmp_path: Path) -> None:
    descriptor = logfile.open_log(tmp_path / "log")
    logfile.write_line(descriptor, "it\nhappened", why=ValueError("x"))
    os.close(descriptor)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line) | {"time": ""} == {"time": "", "process": "init", "message": "it\nhappened", "why": "x"}
