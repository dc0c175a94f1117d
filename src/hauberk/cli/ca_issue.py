"""`hauberk ca issue`: a short-lived certificate for a program outside the mesh. Its key is made here and sent to nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hauberk.cli import connection, output
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import WaitSpan
from hauberk.cli.output import Format, output_option
from hauberk.cli.verbs import verb
from hauberk.identity.csr import build_csr

# As Kubernetes calls them in a Secret of type kubernetes.io/tls.
KEY, CHAIN, ROOTS = "tls.key", "tls.crt", "ca.crt"


@verb(
    "issue",
    "hauberk ca issue --service-account shop/web --out ./web-identity",
    "hauberk ca issue --service-account shop/batch --lifetime 30m --out /run/batch --force",
)
@click.option("--service-account", required=True, metavar="NS/NAME", help="Whose identity it is.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help=f"Where {KEY}, {CHAIN} and {ROOTS} are written.")
@click.option(
    "--lifetime", type=WaitSpan(), metavar="T", help="How long it is valid, seven days at most.  [default: as the mesh's own certificates]"
)
@click.option("--force", is_flag=True, help="Replace what is there.")
@output_option("table", "json", "yaml", "jsonpath")
def issue(*, service_account: str, out: Path, lifetime: float | None, force: bool, form: Format) -> None:
    """Issue a certificate to a program that runs outside the mesh, and note who has asked for it.

    The private key is made by this command and leaves it only into DIR/tls.key, which nobody else can read. Nobody renews the
    certificate: ask again before it ends.
    """
    namespace, slash, name = service_account.partition("/")
    if not (slash and namespace and name):
        raise Failure(f"{service_account!r} is no ServiceAccount", "", "write NAMESPACE/NAME", Exit.USAGE)
    if lifetime is not None and lifetime < 1:
        raise Failure("a certificate that lives for less than a second is none", "", "give --lifetime 1s or more", Exit.USAGE)
    present = [each for each in (KEY, CHAIN, ROOTS) if (out / each).exists()]
    if present and not force:
        raise Failure(f"{out} holds {', '.join(present)}", "", "choose another directory, or replace them with --force")
    key_pem, csr = _make_key()
    body: dict[str, Any] = {
        "namespace": namespace,
        "serviceAccount": name,
        "csr": csr,
        "lifetime": None if lifetime is None else int(lifetime),
    }
    issued = connection.mesh().api("POST", "/v1/ca/certificates", body)
    _write(out, {KEY: key_pem, CHAIN: "".join(issued["certificateChain"]), ROOTS: "".join(issued["trustBundle"])})
    if not form.is_table:
        output.show_document({name: issued[name] for name in ("spiffeId", "serial", "notAfter")} | {"directory": str(out)}, form)
        return
    click.echo(f"{issued['spiffeId']}, serial {issued['serial']}, valid until {issued['notAfter']}")
    talk(f"{out}/{KEY}, {CHAIN} and {ROOTS}; to end it early: hauberk ca revoke {issued['serial']}")


def _make_key() -> tuple[str, str]:
    """A private key, and the request for a certificate of it, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), build_csr(key)


def _write(directory: Path, files: dict[str, str]) -> None:
    """Each file is whole or as it was; the key was never readable for others."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in files.items():
            temporary = directory / f".{name}.new"
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600 if name == KEY else 0o644)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            temporary.replace(directory / name)
    except OSError as error:
        raise Failure(
            f"cannot write to {directory}", error.strerror or str(error), "check its permissions, or choose another one"
        ) from error
