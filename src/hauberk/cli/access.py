"""`hauberk access`: access records as both sidecars of a request reported them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import click

from hauberk.cli import connection, invocation, output, table
from hauberk.cli.age import moment
from hauberk.cli.options import WaitSpan
from hauberk.cli.output import Format, output_option
from hauberk.cli.table import Cell, bad, good
from hauberk.cli.verbs import verb
from hauberk.cli.views import get

Document = dict[str, Any]
HEADER = ("TIME", "SOURCE", "DESTINATION", "REQUEST", "STATUS", "MS", "MTLS", "DECISION", "REPORTER")
WIDE = ("DRY-RUN", "AUDIT", "FLAGS", "REQUEST-ID", "TRACE-ID", "DETAILS")
_MOST = 10_000  # the agent answers with no more at once
_WIDTHS = (12, 28, 32, 28, 6, 7, 7, 5, 11)  # of a followed table: rows come one by one, so widths are chosen beforehand


@verb(
    "access",
    "hauberk access --since 5m",
    "hauberk access -f --to web",
    "hauberk access --denied",
    "hauberk access --request-id 5f0c0d0e-… -o json",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--since", type=WaitSpan(), metavar="T", help="Not older than this, for example 5m.")
@click.option("--from", "source", metavar="X", help="Called by this workload, pod, identity or address.")
@click.option("--to", "destination", metavar="Y", help="Calls to this service, workload, pod or address.")
@click.option("--denied", is_flag=True, help="Only what a policy denied.")
@click.option("--request-id", metavar="ID", help="Only this request, as both sides saw it.")
@click.option("--limit", type=click.IntRange(1, _MOST), default=100, show_default=True, help="At most so many, the latest.")
@output_option("table", "wide", "json", "yaml")
def access(
    *,
    follow: bool,
    since: float | None,
    source: str | None,
    destination: str | None,
    denied: bool,
    request_id: str | None,
    limit: int,
    form: Format,
) -> None:
    """Access records: who called whom, how it ended, and what decided.

    Each request is reported twice, by the sidecar of its source and by that of its destination.
    """
    wanted = {
        "follow": "true" if follow else None,
        "since": span(since) if since is not None else None,
        "from": source,
        "to": destination,
        "denied": "true" if denied else None,
        "requestId": request_id,
        "limit": str(limit),
    }
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    lines = connection.mesh().agent_lines(f"/v1/access?{query}")
    records: Iterator[Document] = (json.loads(line) for line in lines if line.strip())
    if follow:
        _follow(records, form)
    elif form.is_table:
        header = (*HEADER, *WIDE) if form.wide else HEADER
        found = [row(record, wide=form.wide) for record in records]
        if found:
            output.show_rows(header, found)
        else:
            click.echo("no records", err=True)
    else:
        output.show_document(list(records), form)


def span(seconds: float) -> str:
    """A span of time as the agent reads it, which knows no exponents."""
    return f"{seconds:f}s"


def _follow(records: Iterator[Document], form: Format) -> None:
    colors = invocation.current().colors(sys.stdout)
    if form.is_table:
        click.echo(_padded(HEADER))
    for record in records:
        if form.is_table:
            click.echo(_padded(row(record, wide=form.wide), colors=colors))
        else:
            click.echo(json.dumps(record, ensure_ascii=False) if form.name == "json" else "---\n" + output.as_yaml(record))


def _padded(cells: table.Row, *, colors: bool = False) -> str:
    widths = (*_WIDTHS, *(0 for _ in cells[len(_WIDTHS) :]))
    parts = []
    for cell, width in zip(cells, widths, strict=True):
        found = table.cell_of(cell)
        text = found.text.ljust(width)
        parts.append(click.style(text, fg=found.color) if colors and found.color else text)
    return "   ".join(parts).rstrip()


def row(record: Document, *, wide: bool = False) -> list[str | Cell]:
    """One record as a row of the table."""
    cells: list[str | Cell] = [
        _clock(str(record.get("time", ""))),
        party(record.get("source") or {}),
        destination_of(record),
        request(record),
        _status(record),
        f"{float(record.get('durationMs') or 0):.1f}",
        str(get(record, "mtls", "version", default="-")),
        decision(record),
        str(record.get("reporter", "-")),
    ]
    if wide:
        cells += [dry_run(record), audit(record)]
        cells += [str(record.get(name) or "-") for name in ("flags", "requestId", "traceId", "details")]
    return cells


def _clock(text: str) -> str:
    then = moment(text)
    return then.astimezone().strftime("%H:%M:%S.%f")[:-3] if then else "-"


def party(found: Document) -> str:
    """Who it is: its identity as namespace/account if it has one, else its pod, else its address."""
    identity = str(found.get("identity") or "")
    if "/ns/" in identity and "/sa/" in identity:
        namespace, _, account = identity.partition("/ns/")[2].partition("/sa/")
        return f"{namespace}/{account}"
    if found.get("pod"):
        return f"{found.get('namespace')}/{found['pod']}"
    return str(found.get("address") or "-")


def destination_of(record: Document) -> str:
    """The service and port that were called, or else the workload or address that was reached."""
    found = record.get("destination") or {}
    service = str(found.get("service") or "")
    name = service.removesuffix(".svc.cluster.local") if service else party(found)
    return f"{name}:{found['port']}" if found.get("port") else name


def request(record: Document) -> str:
    """Method and path of a request, or what else it was."""
    if record.get("method"):
        return f"{record['method']} {record.get('path') or ''}"
    return str(record.get("protocol") or "-")


def _status(record: Document) -> Cell:
    status = record.get("status")
    if not status:
        return Cell(str(record.get("flags") or "-"))
    text = str(status)
    return good(text) if text < "400" else bad(text)


def decision(record: Document) -> Cell:
    """What policy decided, and if it denied, which policy or why; and whether a dry-run would have decided otherwise."""
    made = record.get("decision") or {}
    told = _outcome(made) or "-"
    tried = made.get("dryRun") or {}
    if tried and tried.get("verdict") != made.get("verdict"):
        told += f" (dry-run: {_outcome(tried)})"
    return bad(told) if made.get("verdict") == "deny" else Cell(told)


def dry_run(record: Document) -> Cell:
    """What policy would have decided if policies in dry-run were enforced."""
    tried = get(record, "decision", "dryRun") or {}
    told = _outcome(tried) or "-"
    return bad(told) if tried.get("verdict") == "deny" else Cell(told)


def audit(record: Document) -> str:
    """The policies that took note of it."""
    return ",".join(str(each.get("policy")) for each in get(record, "decision", "audit") or ()) or "-"


def _outcome(made: Document) -> str:
    verdict = str(made.get("verdict") or "")
    if verdict != "deny":
        return verdict
    policy, reason = made.get("policy"), made.get("reason")
    because = f"{policy} ({reason})" if policy and reason else policy or reason
    return f"deny {because}" if because else verdict
