"""`hauberk audit export`: the records as lines for other systems."""

from __future__ import annotations

import json

import click

from hauberk.cli.audit_log import files_of, records
from hauberk.cli.options import WaitSpan
from hauberk.cli.verbs import verb


@verb("export", "hauberk audit export > audit.jsonl", "hauberk audit export --since 24h", "hauberk audit export --from 1000")
@click.option("--since", type=WaitSpan(), metavar="T", help="Not older than this, for example 24h.")
@click.option(
    "--from", "first", type=click.IntRange(0), default=0, metavar="NUMBER", help="From this record on: where the last export ended."
)
@click.option("--log", "directory", metavar="DIR", help="The log's directory, if it is not that of a mesh of this machine.")
def export(*, since: float | None, first: int, directory: str | None) -> None:
    """All records as JSON lines, each with its number."""
    for record in records(files_of(directory), since=since, kinds=frozenset(), limit=None):
        if record["number"] >= first:
            click.echo(json.dumps(record, separators=(",", ":"), ensure_ascii=False))
