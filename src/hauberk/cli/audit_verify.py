"""`hauberk audit verify`, `head`, `prove`: evidence that the log is what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from hauberk.cli import output
from hauberk.cli.audit_log import files_of, public_key
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.output import Format, output_option
from hauberk.cli.plain import printable
from hauberk.cli.verbs import verb

_LARGEST = 1 << 20  # bytes of an anchor or a proof
_log_option = click.option("--log", "directory", metavar="DIR", help="The log's directory, if it is not that of a mesh of this machine.")
_key_option = click.option("--key", metavar="FILE", help="The log's public key, kept elsewhere (else the one that lies beside the log).")


@verb(
    "verify",
    "hauberk audit verify",
    "hauberk audit verify --anchor head-of-monday.txt --key public-key.pem",
    "hauberk audit verify --log ./copy-of-the-log -o json",
    "hauberk audit verify --proof record-17.json --key public-key.pem",
)
@click.option("--anchor", multiple=True, metavar="FILE", help="An older head (`audit head`) that the log must contain; may be repeated.")
@click.option("--proof", metavar="FILE", help="Verify the proof of one record (`audit prove`) instead of the log.")
@_log_option
@_key_option
@output_option("table", "json", "yaml")
def verify(*, anchor: tuple[str, ...], proof: str | None, directory: str | None, key: str | None, form: Format) -> int:
    """Whether the log is whole: no record altered, removed, inserted or moved.

    That its end was not cut off, and that it was not written anew, only an older head shows that was kept elsewhere: `--anchor`.
    """
    if proof is not None:
        return _verify_proof(proof, directory, key, form)
    from hauberk.audit.verify import verify as verify_log  # noqa: PLC0415 -- cryptography is slow to load

    files = files_of(directory)
    found = verify_log(files, public_key(files, key), tuple(map(_read, anchor)))
    document = {
        "whole": found.whole,
        "records": found.size,
        "firstKept": found.first,
        "root": found.root.hex(),
        "faults": list(found.faults),
    }
    if not form.is_table:
        output.show_document(document, form)
    else:
        for fault in found.faults:
            click.echo(f"error: {printable(fault)}")
        click.echo(_summary(document, anchors=len(anchor)))
    return Exit.DONE if found.whole else Exit.FAILED


def _summary(document: dict[str, Any], *, anchors: int) -> str:
    if not document["whole"]:
        return f"the log is NOT whole ({document['records']} records)"
    kept = f", kept from record {document['firstKept']} on" if document["firstKept"] else ""
    against = f"; it contains {anchors} older head{'' if anchors == 1 else 's'}" if anchors else ""
    return f"the log is whole: {document['records']} records{kept}{against}"


def _verify_proof(proof: str, directory: str | None, key: str | None, form: Format) -> int:
    from hauberk.audit.files import LogFiles  # noqa: PLC0415 -- see above
    from hauberk.audit.proof import NoProof, check  # noqa: PLC0415

    verifying = public_key(LogFiles(Path()), key) if key else public_key(files_of(directory))
    try:
        record = check(json.loads(_read(proof)), verifying)
    except (NoProof, ValueError) as exc:
        raise Failure(f"{proof} proves nothing", str(exc), "make one by `hauberk audit prove NUMBER`") from exc
    if form.is_table:
        click.echo(f"in the log: {printable(record)}")
    else:
        output.show_document({"proven": True, "record": record}, form)
    return Exit.DONE


@verb("head", "hauberk audit head > head-$(date +%F).txt")
@_log_option
def head(*, directory: str | None) -> None:
    """The newest signed head of the log.

    Keep one elsewhere from time to time: against it `audit verify --anchor` finds whatever was done to the log since.
    """
    click.echo(files_of(directory).checkpoint.read_text(), nl=False)


@verb("prove", "hauberk audit prove 17 > record-17.json", "hauberk audit verify --proof record-17.json --key public-key.pem")
@click.argument("number", type=click.IntRange(0))
@_log_option
def prove(*, number: int, directory: str | None) -> None:
    """The proof that record NUMBER is in the log, as JSON; `audit verify --proof` and the log's public key are enough to check it."""
    from hauberk.audit.checkpoint import BadCheckpoint  # noqa: PLC0415 -- see above
    from hauberk.audit.proof import NoProof  # noqa: PLC0415
    from hauberk.audit.proof import prove as prove_record  # noqa: PLC0415

    files = files_of(directory)
    try:
        document = prove_record(files, number, public_key(files))
    except (NoProof, BadCheckpoint, IndexError) as exc:
        raise Failure(f"record {number} cannot be proven", str(exc), "see `hauberk audit verify`") from exc
    talk(f"record {number}, under a head that is signed")
    click.echo(json.dumps(document, indent=2))


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_LARGEST).decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise Failure(f"{path} cannot be read", str(exc), "check the path") from exc
