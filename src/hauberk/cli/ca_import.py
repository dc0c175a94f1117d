"""`hauberk ca import`: the mesh becomes an intermediate of the company's certificate authority."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hauberk.cli import connection, output
from hauberk.cli.ca_rotate import ROTATION, follow
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import WaitSpan
from hauberk.cli.output import Format, output_option
from hauberk.cli.plain import printable
from hauberk.cli.verbs import verb

PATH = "/v1/ca/import"
_FILE = click.Path(path_type=Path)
_TOLD = {
    "sound": "the authority is sound and can be imported; nothing was changed",
    "unchanged": "the authority signs already; nothing was changed",
    "active": "the authority signs from now on",
    "rotating": "not every proxy trusts it yet; when all do, it signs: see `hauberk ca rotate --status`",
}


@verb(
    "import",
    "hauberk ca import --cert ca-chain.pem --key ca-key.pem --root company-root.pem",
    "hauberk ca import /etc/cacerts",
    "hauberk ca import /etc/cacerts --dry-run",
    "hauberk ca import --list",
)
@click.argument("directory", required=False, type=_FILE)
@click.option("--cert", type=_FILE, metavar="FILE", help="Its certificate, and those between it and the root (PEM).")
@click.option("--key", type=_FILE, metavar="FILE", help="Its private key (PEM, mode 0600).")
@click.option("--root", type=_FILE, metavar="FILE", help="The root; needed if --cert does not end with it.")
@click.option("--passphrase-file", type=_FILE, metavar="FILE", help="Holds the passphrase of the key, if it is encrypted (mode 0600).")
@click.option("--dry-run", is_flag=True, help="Check the files, and change nothing.")
@click.option("--no-wait", is_flag=True, help="Return as soon as it has begun.")
@click.option("--timeout", type=WaitSpan(), default="10m", show_default=True, metavar="T", help="How long to follow it.")
@click.option("--list", "listing", is_flag=True, help="Show which files are followed.")
@output_option("table", "json", "yaml", "jsonpath")
def import_(
    *,
    directory: Path | None,
    cert: Path | None,
    key: Path | None,
    root: Path | None,
    passphrase_file: Path | None,
    dry_run: bool,
    no_wait: bool,
    timeout: float,
    listing: bool,
    form: Format,
) -> None:
    """Sign with an intermediate authority that the company's has signed; the company's root stays outside.

    DIRECTORY holds the files by the names that Istio (ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem) or cert-manager (tls.crt,
    tls.key, ca.crt) give them. Under another root this is an exchange of the root: first all proxies trust it, then the authority signs;
    interrupt the command as you like, it goes on. The key is copied to where the mesh keeps its keys; the files are followed, and a
    change of them is taken over.
    """
    mesh = connection.mesh()
    if listing:
        _show(mesh.api("GET", PATH), form)
        return
    if (directory is None) == (cert is None or key is None) or (directory is not None and (cert or key or root)):
        raise Failure("say which authority", "", "name a directory, or --cert and --key", Exit.USAGE)
    if passphrase_file is not None and not passphrase_file.exists():
        # Not quoted: somebody may have given the passphrase itself, and the control plane would note it.
        raise Failure("what --passphrase-file names does not exist", "", "name the file that holds the passphrase", Exit.USAGE)
    named = {"directory": directory, "certificates": cert, "key": key, "roots": root, "passphrase": passphrase_file}
    # Absolute, because the control plane reads them: a key does not travel through the API.
    body: dict[str, Any] = {name: str(path.absolute()) for name, path in named.items() if path is not None}
    status, answer = mesh.api_answer("POST", PATH, body | {"dryRun": dry_run})
    if status >= 400:
        raise _refused(status, answer)
    if answer["result"] == "rotating" and not no_wait:
        follow(mesh, mesh.api("GET", ROTATION), timeout, quiet=not form.is_table)
        signs = mesh.api("GET", PATH).get("slot") == "active"
        answer |= {"result": "active" if signs else "rotating"}
    _show(answer, form)


def _refused(status: int, answer: Any) -> Failure:
    """Every fault but the last on a line of its own, and the last as the failure of the command."""
    *others, last = connection.problems_of(answer) or [{}]
    if not last:
        return connection.refused(status, answer)
    for each in others:
        click.echo(printable(f"error: {each['message']}\n   do: {each['remedy']}"), err=True)
    return Failure(str(last["message"]), "", str(last["remedy"]))


def _show(answer: dict[str, Any], form: Format) -> None:
    if not form.is_table:
        output.show_document(answer, form)
        return
    if not answer.get("authority"):
        talk("no authority was imported, or another root has taken its place")
        return
    click.echo(f"authority  {answer['authority']}")
    for name, label in (("subject", "subject"), ("root", "root"), ("notAfter", "ends")):
        if answer.get(name):
            click.echo(f"{label:<9}  {printable(str(answer[name]))}")
    for path in answer.get("files", ()):
        click.echo(f"follows    {printable(path)}")
    for note in answer.get("notes", ()):
        talk(printable(str(note)))
    if answer.get("problem"):
        talk(f"the files have changed and cannot be taken over: {printable(answer['problem'])}")
    if answer.get("result"):
        talk(_TOLD[answer["result"]])
