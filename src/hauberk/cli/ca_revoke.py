"""`hauberk ca revoke`: a pod, a certificate or an identity is believed by nobody any more, on open connections neither."""

from __future__ import annotations

import re
from typing import Any

import click

from hauberk.cli import completion_names, connection, output
from hauberk.cli.connection import Mesh
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import WaitSpan, namespace_option
from hauberk.cli.output import Format, output_option
from hauberk.cli.target import find_pods, parse_target
from hauberk.cli.verbs import verb

PATH = "/v1/ca/revocations"
_SCHEME = "spiffe://"
_SERIAL = re.compile(r"(?:[0-9A-Fa-f]{2}:?){15}[0-9A-Fa-f]{2}")  # as this mesh writes it, and as openssl does
_HEADER = ("WHAT", "NAME", "SINCE", "BY", "REASON")


@verb(
    "revoke",
    "hauberk ca revoke web-7d9f4b -n shop --reason 'key leaked'",
    "hauberk ca revoke 9f3c5a7be2d84c10a6f15b2e8d7c4b90",
    "hauberk ca revoke spiffe://cluster.local/ns/shop/sa/web",
    "hauberk ca revoke web-7d9f4b -n shop --undo",
    "hauberk ca revoke --list",
)
@click.argument("what", metavar="POD|SERIAL|spiffe://…", required=False, shell_complete=completion_names.targets)
@namespace_option
@click.option("--reason", default="", metavar="TEXT", help="Why; it stands in the ledger and in every refusal.")
@click.option("--wait", type=WaitSpan(), default="10s", show_default=True, metavar="T", help="For every proxy to confirm; 0: do not wait.")
@click.option("--undo", is_flag=True, help="It is believed again.")
@click.option("--list", "listing", is_flag=True, help="Show what is revoked.")
@output_option("table", "json", "yaml", "jsonpath")
def revoke(*, what: str | None, namespace: str, reason: str, wait: float, undo: bool, listing: bool, form: Format) -> int:
    """Revoke a pod's certificates and all that it would get, one certificate, or an identity wherever it is held.

    New connections are refused at once, open ones end within seconds. A pod whose one certificate is revoked gets another at once.
    """
    mesh = connection.mesh()
    if listing == bool(what):
        raise Failure("say what is to be revoked, or --list", "", "name a pod, a serial or a SPIFFE ID", Exit.USAGE)
    if what is None:
        _show_all(mesh.api("GET", PATH), form)
        return Exit.DONE
    body: dict[str, Any] = _asked(mesh, what, namespace, ended=undo) | {"reason": reason, "wait": wait}
    answer = mesh.api("DELETE" if undo else "POST", PATH, body, timeout=wait + 30)
    if form.is_table:
        _tell(answer, undone=undo)
    else:
        output.show_document(answer, form)
    return _told_to_all(answer, wait)


def _told_to_all(answer: dict[str, Any], wait: float) -> int:
    """Whether every proxy has confirmed; who has not is named."""
    pending = answer["pending"]
    if not wait:
        return Exit.DONE
    for each in pending:
        talk(f"not confirmed within {wait:g} s: {each}")
    if not pending:
        talk("every proxy has confirmed")
    return Exit.TIMED_OUT if pending else Exit.DONE


def _asked(mesh: Mesh, what: str, namespace: str, *, ended: bool) -> dict[str, str]:
    if what.lower().startswith(_SCHEME):
        return {"identity": what}
    if _SERIAL.fullmatch(what):
        return {"serial": what.replace(":", "").lower()}
    target = parse_target(what, namespace)
    revoked = _revoked_pods(mesh) if ended else frozenset()
    named = f"{target.namespace}/{target.name}"
    if named in revoked:
        # It may have ended since: the control plane remembers it by its name.
        return {"pod": named}
    found = [str(pod["metadata"]["name"]) for pod in find_pods(mesh, target)]
    names = [name for name in found if f"{target.namespace}/{name}" in revoked] or found
    if len(names) > 1:
        raise Failure(
            f"{what} has {len(names)} pods",
            ", ".join(names),
            "name one of them; to revoke all and those that take their place, name their identity (spiffe://…)",
            Exit.USAGE,
        )
    return {"pod": f"{target.namespace}/{names[0]}"}


def _revoked_pods(mesh: Mesh) -> frozenset[str]:
    return frozenset(str(row["name"]) for row in mesh.api("GET", PATH)["items"] if row["what"] == "pod")


def _tell(answer: dict[str, Any], *, undone: bool) -> None:
    row, certificates = answer["revocation"], answer["certificates"]
    click.echo(f"{row['what']} {row['name']} is {'not revoked any more' if undone else 'revoked'}")
    for each in certificates:
        click.echo(f"  certificate {each['serial']} of {each['spiffeId']}, held by {each['holder']}, until {each['notAfter']}")
    if not certificates and not undone:
        talk("no living certificate of it is known; what is known of it is refused all the same")
    if answer["problem"]:
        talk(f"warning: {answer['problem']}")
    if not undone:
        talk(f"undo: hauberk ca revoke {_again(row)} --undo")


def _again(row: dict[str, Any]) -> str:
    if row["what"] != "pod":
        return str(row["value"])
    namespace, _, name = str(row["name"]).partition("/")
    return f"{name} -n {namespace}"


def _show_all(answer: dict[str, Any], form: Format) -> None:
    if not form.is_table:
        output.show_document(answer, form)
        return
    rows = [(row["what"], row["name"], row["at"], row["by"], row["reason"]) for row in answer["items"]]
    if rows:
        output.show_rows(_HEADER, rows)
    else:
        talk("nothing is revoked")
