"""`hauberk ca nodes`: the other machines of the mesh, and putting one out of it."""

from __future__ import annotations

from typing import Any

import click

from hauberk.cli import connection, output
from hauberk.cli.invocation import talk
from hauberk.cli.output import Format, output_option
from hauberk.cli.verbs import VerbGroup, verb

_PATH = "/v1/ca/nodes"
_HEADER = ("NODE", "STATE", "CONNECTED", "LAST SEEN", "CERTIFICATE UNTIL", "REASON")


@click.command(
    "nodes",
    cls=VerbGroup,
    invoke_without_command=True,
    examples=("hauberk ca nodes", "hauberk ca nodes ban n2 --reason 'machine stolen'", "hauberk ca nodes readmit n2"),
)
@output_option("table", "json", "yaml", "jsonpath")
@click.pass_context
def nodes(context: click.Context, *, form: Format) -> None:
    """The machines that have joined or were banned, and the tokens that are still good."""
    if context.invoked_subcommand is not None:
        return
    answer = connection.mesh().api("GET", _PATH)
    if not form.is_table:
        output.show_document(answer, form)
        return
    rows = [_row(each) for each in answer["nodes"]]
    if rows:
        output.show_rows(_HEADER, rows)
    else:
        talk("no other machine has joined")
    for each in answer["tokens"]:
        talk(f"a token for node {each['node']} is good until {each['expires']}")
    if answer["addresses"] is None:
        talk("this control plane does not listen for other machines: hauberk up --listen HOST:PORT")


@verb("ban", "hauberk ca nodes ban n2", "hauberk ca nodes ban n2 --reason 'machine stolen'")
@click.argument("node", metavar="NODE")
@click.option("--reason", default="", metavar="TEXT", help="Why; it stands in the ledger and in every refusal.")
def ban(*, node: str, reason: str) -> None:
    """Shut a machine out: its connections end, its pods are removed, and every certificate that it or they hold is revoked."""
    answer = connection.mesh().api("POST", f"{_PATH}/{node}/ban", {"reason": reason})
    click.echo(f"node {node} is banned")
    for pod in answer["removedPods"]:
        click.echo(f"  pod {pod} is removed")
    for serial in answer["revokedCertificates"]:
        click.echo(f"  certificate {serial} is revoked")


@verb("readmit", "hauberk ca nodes readmit n2")
@click.argument("node", metavar="NODE")
def readmit(*, node: str) -> None:
    """Let a banned machine join again, with a new token; what it held before stays revoked."""
    connection.mesh().api("DELETE", f"{_PATH}/{node}/ban")
    click.echo(f"node {node} may join again")
    talk(f"next: hauberk ca token create {node} -o FILE")


nodes.add_command(ban)
nodes.add_command(readmit)


def _row(node: dict[str, Any]) -> tuple[str, ...]:
    certificate = node.get("certificate") or {}
    return (
        str(node["name"]),
        str(node["state"]),
        "yes" if node["connected"] else "no",
        str(node.get("seenAt", "-")),
        str(certificate.get("notAfter", "-")),
        str(node.get("reason", "")),
    )
