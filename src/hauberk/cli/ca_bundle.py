"""`hauberk ca bundle`: whom others are to believe when they meet members of this mesh."""

from __future__ import annotations

import json

import click

from hauberk.cli import connection
from hauberk.cli.verbs import verb

PATH = "/v1/ca/bundle"


@verb(
    "bundle",
    "hauberk ca bundle > mesh.json",
    "hauberk ca bundle --pem > roots.pem",
)
@click.option("--spiffe", "form", flag_value="spiffe", default=True, help="SPIFFE's format: X.509 roots and JWT keys, with a sequence.")
@click.option("--pem", "form", flag_value="pem", help="The X.509 roots as PEM, for programs that know nothing of SPIFFE.")
def bundle(*, form: str) -> None:
    """Print the trust bundle of this mesh. It holds public keys only; who takes it must get it from you, unchanged."""
    answer = connection.mesh().api("GET", f"{PATH}?format={form}")
    # Parsed where the answer says that it is JSON; printed as it was served.
    click.echo(answer.rstrip("\n") if isinstance(answer, str) else json.dumps(answer, indent=1, sort_keys=True))
