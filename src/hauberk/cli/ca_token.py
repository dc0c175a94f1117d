"""`hauberk ca token`: what another machine needs to join the mesh."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from hauberk.cli import connection
from hauberk.cli.failure import Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import WaitSpan
from hauberk.cli.verbs import VerbGroup, verb


@click.command("token", cls=VerbGroup, examples=("hauberk ca token create n2 -o n2.join",))
def token() -> None:
    """Tokens with which other machines join the mesh."""


@verb("create", "hauberk ca token create n2 -o n2.join", "hauberk ca token create n2 --ttl 1h -o n2.join")
@click.argument("node", metavar="NODE")
@click.option("--ttl", type=WaitSpan(), default="10m", show_default=True, metavar="T", help="How long it is good; 24h at most.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the join file is written; it must not exist. Only you can read it.",
)
def create(*, node: str, ttl: float, output: Path) -> None:
    """Write a join file: with it a machine joins once, as NODE, until it expires. A newer token for NODE ends the older.

    The file holds a secret. Bring it to the machine by a way that you trust, and run there: hauberk agent --join FILE
    """
    try:
        # Before there is a token: what cannot be written must not be lost. O_EXCL: never over another file, nor through a link.
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"cannot write {output}: {error.strerror}", "", "name a file that does not exist yet") from error
    try:
        with os.fdopen(descriptor, "w") as file:
            document = connection.mesh().api("POST", "/v1/ca/tokens", {"node": node, "ttl": ttl})
            file.write(json.dumps(document, indent=1) + "\n")
    except BaseException:
        output.unlink(missing_ok=True)
        raise
    talk(f"{output} lets one machine join as node {node}, until {document['expires']}, at {', '.join(document['addresses'])}")
    talk(f"on that machine: hauberk agent --join {output.name} --detach --wait")


token.add_command(create)
