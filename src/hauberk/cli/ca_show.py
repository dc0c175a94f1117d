"""`hauberk ca show`: the authorities, what depends on them, who has confirmed what, and what should be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from hauberk.cli import connection, output, table
from hauberk.cli.age import moment, span
from hauberk.cli.output import Format, output_option
from hauberk.cli.plain import printable
from hauberk.cli.verbs import verb
from hauberk.kit.clock import SystemClock

PATH = "/v1/ca"
_AUTHORITIES = ("AUTHORITY", "KIND", "SLOT", "ALGORITHM", "ENDS IN", "RENEWED IN", "CERTIFICATES", "LAST ENDS IN", "KEY")
_AGENTS = ("NODE", "TRUST", "HOLDERS", "PROBLEM")
_SLOT = {"active": table.good, "prepared": table.middling, "old": table.middling, "retired": table.bad}


@verb("show", "hauberk ca show", "hauberk ca show -o json")
@output_option("table", "json", "yaml", "jsonpath")
def show(*, form: Format) -> None:
    """Show every authority with what depends on it, every machine that was told whom to trust, and what should be done."""
    document = connection.mesh().api("GET", PATH)
    if not form.is_table:
        output.show_document(document, form)
        return
    for line in _head(document):
        click.echo(line)
    click.echo()
    output.show_rows(_AUTHORITIES, [_authority(each) for each in document["authorities"]])
    click.echo()
    output.show_rows(_AGENTS, [_agent(each) for each in document["agents"]])
    for problem in document["problems"]:
        click.echo(f"! {printable(problem)}")


def time_left(text: str | None) -> str:
    """How long until that moment, `-` if there is none."""
    at = moment(text or "")
    if at is None:
        return "-"
    left = at - SystemClock().now()
    return span(left) if left.total_seconds() > 0 else f"over for {span(-left)}"


def _head(document: dict[str, Any]) -> Iterator[str]:
    aliases = f", also called {', '.join(document['aliases'])}" if document["aliases"] else ""
    yield f"trust domain  {document['trustDomain']}{aliases}"
    yield f"certificates  {document['living']} valid, revoked: {_counts(document['revoked'])}"
    yield f"tokens        signed by {', '.join(document['jwtKeys']) or 'no key'}"
    yield f"federated     {', '.join(document['federated']) or 'with nobody'}"
    if document["rotation"] and document["rotation"]["stage"] != "done":
        yield f"rotation      {document['rotation']['stage']}: see `hauberk ca rotate --status`"


def _counts(revoked: dict[str, int]) -> str:
    named = (("pods", revoked["pods"]), ("identities", revoked["identities"]), ("certificates", revoked["serials"]))
    return ", ".join(f"{number} {name}" for name, number in named if number) or "none"


def _authority(row: dict[str, Any]) -> table.Row:
    slot = _SLOT[row["slot"]](row["slot"])
    key = table.good("here") if row["keyHere"] else table.middling("elsewhere")
    last = time_left(row["lastExpiry"])
    return (
        row["id"],
        row["kind"],
        slot,
        row["algorithm"],
        time_left(row["notAfter"]),
        time_left(row["renewedAt"]),
        str(row["living"]),
        last,
        key,
    )


def _agent(row: dict[str, Any]) -> table.Row:
    trust = table.good("confirmed") if row["confirmed"] else table.middling("not confirmed yet")
    return (row["node"], trust, str(row["holders"]), printable("; ".join(row["problems"])) or "-")
