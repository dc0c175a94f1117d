"""Structured logs: one JSON object a line, for files and for machines; or readable text for a person's terminal."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger, Processor


class ForgivingStream:
    """A stream whose lines are lost while its disk is full: what a service does must not fail because it cannot be told of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """The text is written, or lost."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """What can be written is on its way."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure_logging(process: str, *, path: Path | None = None, level: int = logging.INFO, readable: bool = False) -> None:
    """Every logger of this process writes to `path` (appending) or else to stderr; each line names `process`."""
    # Unbuffered by line, so that the last line before a crash is in the file.
    file = path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace") if path else sys.stderr
    stream = cast("TextIO", ForgivingStream(file))
    finish: list[Processor] = (
        # Plain tracebacks: the pretty ones print local variables, and one of those may be a private key.
        [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
        if readable
        else [
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str),
        ]
    )
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(process=process)
    # Libraries log through the standard library; their warnings belong into the same file.
    logging.basicConfig(stream=stream, level=max(level, logging.WARNING), format="%(message)s", force=True)


def logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `name` as their room."""
    bound: FilteringBoundLogger = structlog.get_logger(room=name)
    return bound
