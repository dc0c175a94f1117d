"""Each line of a log is one JSON object."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from hauberk.kit.log import configure_logging, logger


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.basicConfig(force=True)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_names_process_room_and_time(tmp_path: Path) -> None:
    configure_logging("agent", path=tmp_path / "log")
    logger("pods").info("started", pod="web")
    (line,) = lines(tmp_path / "log")
    assert line.pop("time")
    assert line == {"process": "agent", "room": "pods", "level": "info", "message": "started", "pod": "web"}


def test_an_exception_stays_on_its_line(tmp_path: Path) -> None:
    configure_logging("agent", path=tmp_path / "log")
    try:
        int("two\nlines")
    except ValueError:
        logger("pods").exception("failed")
    (line,) = lines(tmp_path / "log")
    assert "ValueError" in str(line["exception"])


def test_less_than_the_level_is_not_written(tmp_path: Path) -> None:
    configure_logging("agent", path=tmp_path / "log", level=logging.WARNING)
    logger("pods").info("quiet")
    assert lines(tmp_path / "log") == []


def test_a_readable_traceback_shows_no_local_variable(tmp_path: Path) -> None:
    configure_logging("agent", path=tmp_path / "log", readable=True)
    secret = "-----BEGIN " + "PRIVATE KEY-----"
    try:
        [][len(secret)]
    except IndexError:
        logger("pods").exception("failed")
    text = (tmp_path / "log").read_text()
    assert "IndexError" in text
    assert secret not in text


def test_a_full_disk_loses_lines_and_fails_nobody() -> None:
    configure_logging("agent", path=Path("/dev/full"))
    logger("pods").warning("nobody hears this")
    logging.getLogger("library").warning("nor this")
