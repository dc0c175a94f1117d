"""`hauberk analyze`: what in a rule base is dead, contradicts itself, means nobody, or means more than it reads."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from hauberk.cli import completion_names, connection, invocation, output
from hauberk.cli.connection import Document, problem_lines
from hauberk.cli.failure import Exit
from hauberk.cli.options import DEFAULT_NAMESPACE, files_option, read_files
from hauberk.cli.output import Format, output_option
from hauberk.cli.verbs import verb

_SEVERITIES = ("error", "warning", "info")
_SECONDS = 60.0


@verb(
    "analyze",
    "hauberk analyze                          # the running mesh",
    "hauberk analyze -n shop -o json",
    "hauberk analyze -f policies/ --strict    # files alone, no mesh needed: for CI",
    "hauberk analyze -f policies/ --live      # files as they would be in the running mesh",
)
@files_option
@click.option(
    "-n", "--namespace", metavar="NS", shell_complete=completion_names.namespaces,
    help="Only objects of this namespace; with -f, that of documents which name none.",
)  # fmt: skip
@click.option("--live", is_flag=True, help="Hold the files against the running mesh, changing nothing.")
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.option("--all", "infos", is_flag=True, help="Show infos too: what may well be meant.")
@output_option("table", "json", "yaml")
def analyze(*, files: tuple[str, ...], namespace: str | None, live: bool, strict: bool, infos: bool, form: Format) -> int:
    """Every problem of the mesh or of files: dead and contradictory rules, names that mean nobody, tokens that nobody verifies, and more.

    The exit code is 1 if there is an error, with --strict also if there is a warning. `hauberk help errors CODE` tells more of a code.
    """
    if live and not files:
        raise click.UsageError("--live is about files: -f FILE")
    texts = read_files(files)
    problems = _of_files(texts, namespace) if texts and not live else _of_mesh(texts, namespace)
    counted = Counter(str(each.get("severity")) for each in problems)
    if form.is_table:
        _tell(problems, counted, infos=infos)
    else:
        counts = {"errors": counted["error"], "warnings": counted["warning"], "infos": counted["info"]}
        output.show_document({"problems": list(problems), **counts}, form)
    return Exit.FAILED if counted["error"] or (strict and counted["warning"]) else Exit.DONE


def _of_mesh(texts: list[dict[str, str]], namespace: str | None) -> Sequence[Document]:
    answer = connection.mesh().api("POST", "/v1/analyze", {"files": texts, "namespace": namespace}, timeout=_SECONDS)
    found: Sequence[Document] = answer["problems"]
    return found


def _of_files(texts: list[dict[str, str]], namespace: str | None) -> Sequence[Document]:
    # Here, because it loads every kind: whoever asks a running mesh must not wait for that.
    from hauberk.analysis.files import analyze_files  # noqa: PLC0415 -- see above

    return [each.to_json() for each in analyze_files(texts, namespace or DEFAULT_NAMESPACE)]


def _tell(problems: Sequence[Mapping[str, Any]], counted: Mapping[str, int], *, infos: bool) -> None:
    colors = invocation.current().colors(sys.stdout)
    for severity in _SEVERITIES[: 3 if infos else 2]:
        for each in problems:
            if each.get("severity") == severity:
                for line in problem_lines(each, colors=colors):
                    click.echo(line)
    hidden = f" (--all shows {'it' if counted['info'] == 1 else 'them'})" if counted["info"] and not infos else ""
    told = ", ".join(f"{counted[each]} {each}{'' if counted[each] == 1 else 's'}" for each in _SEVERITIES)
    click.echo(f"{told}{hidden}" if problems else "no problem found")
