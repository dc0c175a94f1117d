"""Options that several commands share, so that they are called and mean the same everywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import click

from hauberk.cli import completion_names
from hauberk.cli.age import seconds_of
from hauberk.cli.failure import Exit, Failure

DEFAULT_NAMESPACE = "default"
DEFAULT_WAIT = "60s"
LARGEST_FILE = 64 * 1024 * 1024  # bytes read of one file; the mesh's own limit is far below and says so itself
Decorator = Callable[[Any], Any]

namespace_option: Decorator = click.option(
    "-n", "--namespace", default=DEFAULT_NAMESPACE, show_default=True, metavar="NS", shell_complete=completion_names.namespaces,
    help="The namespace.",
)  # fmt: skip
all_namespaces_option: Decorator = click.option("-A", "--all-namespaces", is_flag=True, help="Objects of every namespace.")
selector_option: Decorator = click.option("-l", "--selector", metavar="K=V,…", help="Only objects with these labels.")
files_option: Decorator = click.option(
    "-f", "--filename", "files", multiple=True, metavar="FILE|DIR|-", type=click.Path(), help="YAML or JSON; several times."
)  # fmt: skip


class WaitSpan(click.ParamType[float]):
    """`--wait` or `--wait=30s`: seconds."""

    name = "timeout"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds; wrong usage if it is no span of time."""
        if isinstance(value, float):
            return value
        try:
            return seconds_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def wait_option(help_text: str) -> Decorator:
    """`--wait[=TIMEOUT]`: None where it was not given."""
    return click.option("--wait", type=WaitSpan(), is_flag=False, flag_value=DEFAULT_WAIT, metavar="[=TIMEOUT]", help=help_text)


def read_files(names: tuple[str, ...]) -> list[dict[str, str]]:
    """The texts of the files and of the .yaml, .yml and .json files of the directories, in the order they apply."""
    return [{"name": name, "text": text} for given in names for name, text in _read(given)]


def _read(given: str) -> list[tuple[str, str]]:
    if given == "-":
        return [("<stdin>", _decoded("<stdin>", sys.stdin.buffer))]
    path = Path(given)
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml", ".json") and each.is_file())
        if not found:
            raise Failure(f"nothing to read in {given}", "it holds no .yaml, .yml or .json file", "name the files", Exit.USAGE)
        return [(str(each), _text(each)) for each in found]
    return [(given, _text(path))]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _decoded(str(path), file)
    except OSError as error:
        raise Failure(f"cannot read {path}", error.strerror or str(error), "check the name and its permissions", Exit.USAGE) from error


def _decoded(name: str, file: BinaryIO) -> str:
    # Bounded while reading: a pipe or a device does not say beforehand how long it is.
    found = file.read(LARGEST_FILE + 1)
    if len(found) > LARGEST_FILE:
        raise Failure(f"{name} is too large", f"it is longer than {LARGEST_FILE >> 20} MiB", "split it into several files")
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = found.count(b"\n", 0, error.start) + 1
        column = error.start - found.rfind(b"\n", 0, error.start)
        why = f"line {line} holds the byte 0x{found[error.start]:02x}, which is no UTF-8"
        raise Failure(f"{name}:{line}:{column}: this is not text", why, "check that it is the right file, and save it as UTF-8") from error
