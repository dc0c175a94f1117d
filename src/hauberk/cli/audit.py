"""`hauberk audit`: what happened, in a log that nobody changes unseen."""

from __future__ import annotations

from typing import Any

import click

from hauberk.cli import output
from hauberk.cli.audit_log import files_of, records
from hauberk.cli.invocation import talk
from hauberk.cli.options import WaitSpan
from hauberk.cli.output import Format, output_option
from hauberk.cli.plain import printable
from hauberk.cli.verbs import Entry, VerbGroup

_HEADER = ("NUMBER", "TIME", "KIND", "SUBJECT", "OUTCOME", "BY")


@click.command(
    "audit",
    cls=VerbGroup,
    invoke_without_command=True,
    entries=(
        Entry("verify", "hauberk.cli.audit_verify:verify", "Is the log whole? Nothing altered, removed or cut off.", "Commands"),
        Entry("head", "hauberk.cli.audit_verify:head", "The signed head, to be kept where the mesh cannot change it.", "Commands"),
        Entry("prove", "hauberk.cli.audit_verify:prove", "The proof that one record is in the log.", "Commands"),
        Entry("export", "hauberk.cli.audit_export:export", "All records, as lines for other systems.", "Commands"),
    ),
    examples=("hauberk audit --since 1h", "hauberk audit --kind certificate-refused -o json", "hauberk audit verify"),
)
@click.option("--since", type=WaitSpan(), metavar="T", help="Not older than this, for example 5m.")
@click.option("--kind", multiple=True, metavar="KIND", help="Only records of this kind; may be repeated.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many, the latest.")
@output_option("table", "json", "yaml", "jsonpath")
@click.pass_context
def audit(context: click.Context, *, since: float | None, kind: tuple[str, ...], limit: int, form: Format) -> None:
    """What happened to identities: issued, refused, revoked, rotated; by whom, and on what evidence."""
    if context.invoked_subcommand is not None:
        return
    found = records(files_of(), since=since, kinds=frozenset(kind), limit=limit)
    if not form.is_table:
        output.show_document({"records": found}, form)
    elif found:
        output.show_rows(_HEADER, [_row(each) for each in found])
    else:
        talk("no record")


def _row(record: dict[str, Any]) -> list[str]:
    return [str(record["number"]), *(printable(str(record.get(name, "-"))) for name in ("time", "kind", "subject", "outcome", "by"))]
