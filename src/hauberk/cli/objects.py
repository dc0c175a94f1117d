"""`hauberk apply` and `hauberk delete`: the objects of files change all together or not at all."""

from __future__ import annotations

from typing import Any

import click

from hauberk.cli import completion_names, connection, kinds, output
from hauberk.cli.connection import Document, tell_problems
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import files_option, namespace_option, read_files, wait_option
from hauberk.cli.output import Format, output_option
from hauberk.cli.verbs import verb

_STORED = (502, 504)  # the change is stored; proxies refused it, or have not answered in time
_MARGIN = 30.0  # seconds an answer may take beyond the waiting that was asked for


@verb(
    "apply",
    "hauberk apply -f shop.yaml --wait",
    "hauberk apply -f policies/ --dry-run",
    "kubectl get service web -o yaml | hauberk apply -f -",
)
@files_option
@namespace_option
@wait_option("Return when every proxy it concerns has acknowledged exactly this version.  [TIMEOUT: 60s]")
@click.option("--dry-run", is_flag=True, help="Check everything, change nothing.")
@output_option("table", "json", "yaml", "name")
def apply(*, files: tuple[str, ...], namespace: str, wait: float | None, dry_run: bool, form: Format) -> int:
    """Create or change objects: all of them, or none if any has an error."""
    if not files:
        raise click.UsageError("what to apply? -f FILE, -f DIR or -f - for stdin")
    status, answer = apply_texts(read_files(files), namespace, wait=wait, dry_run=dry_run)
    return report_applied(status, answer, form, dry_run=dry_run, waited=wait)


def apply_texts(files: list[dict[str, str]], namespace: str, *, wait: float | None = None, dry_run: bool = False) -> tuple[int, Document]:
    """Status and answer of applying these texts; Failure only if the mesh did not answer in its own words."""
    body = {"files": files, "namespace": namespace, "dryRun": dry_run, "wait": wait}
    status, answer = connection.mesh().api_answer("POST", "/v1/apply", body, timeout=_MARGIN + (wait or 0.0))
    if not isinstance(answer, dict) or (status >= 400 and status not in (409, 422, *_STORED)):
        raise connection.refused(status, answer)
    return status, answer


def report_applied(status: int, answer: Document, form: Format, *, dry_run: bool, waited: float | None) -> int:
    """Show what an apply did; its exit code."""
    if form.name in ("json", "yaml"):
        output.show_document(answer, form)
    else:
        tell_problems(connection.problems_of(answer))
        if status < 400 and not answer.get("applied"):
            raise Failure("there is nothing to apply", "the files hold no object", "check that they are the files you mean")
        for each in answer.get("applied", []) if status < 400 or status in _STORED else []:
            name = f"{each['kind'].lower()}/{each['name']}"
            click.echo(name if form.name == "name" else f"{name} {each['result']}{' (dry run)' if dry_run else ''}")
    return _outcome(status, answer, "nothing was changed: correct the errors above", waited)


def _outcome(status: int, answer: Document, nothing: str, waited: float | None) -> int:
    if status == 504:
        _tell_pending(answer, waited)
        return Exit.TIMED_OUT
    if status == 502:
        talk(_stored_in_vain(answer))
        return Exit.FAILED
    if status >= 400:
        talk(nothing)
        return Exit.FAILED
    if waited is not None and answer.get("affected") is not None:
        talk(f"acknowledged by {answer.get('acknowledged')} of {answer['affected']} proxies in {answer.get('seconds', 0):.2f} s")
    return Exit.DONE


def _stored_in_vain(answer: Document) -> str:
    errors = {each.get("code") for each in connection.problems_of(answer) if each.get("severity") == "error"}
    if errors == {"HBK0608"}:
        return "it is stored and in force: every token of this issuer is refused until its keys can be had"
    return "it is stored, but refused by proxies, which keep what they had: correct or undo the change"


def _tell_pending(answer: Document, waited: float | None) -> None:
    missing = ", ".join(str(name) for name in answer.get("pending", []))
    done = f"{answer.get('acknowledged', 0)} of {answer.get('affected', '?')} proxies have acknowledged it"
    failure = Failure(
        f"it is stored, but not every proxy has acknowledged it within {waited:g} s" if waited else "it is stored, but not acknowledged",
        done + (f"; missing: {missing}" if missing else ""),
        "see `hauberk status` for what a proxy rejects or lacks",
    )
    for line in failure.lines():
        click.echo(line, err=True)


@verb(
    "delete",
    "hauberk delete -f shop.yaml",
    "hauberk delete authorizationpolicy only-frontend --wait",
    "hauberk delete deploy,svc,sa web -n shop",
)
@click.argument("kind_names", metavar="[KIND[,KIND]|KIND/NAME]", required=False, shell_complete=completion_names.kind_or_name)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion_names.kind_or_name)
@files_option
@namespace_option
@wait_option("Return when pods have ended and every proxy concerned has acknowledged.  [TIMEOUT: 60s]")
@click.option("--ignore-not-found", is_flag=True, help="What is not there counts as deleted.")
@output_option("table", "json", "yaml", "name")
def delete(
    *,
    kind_names: str | None,
    names: tuple[str, ...],
    files: tuple[str, ...],
    namespace: str,
    wait: float | None,
    ignore_not_found: bool,
    form: Format,
) -> int:
    """Delete objects, by file or by name."""
    requests = _delete_requests(kind_names, names, files, namespace)
    code = Exit.DONE
    merged: Document = {"deleted": [], "problems": [], "affected": 0, "acknowledged": 0, "seconds": 0.0}
    for request in requests:
        status, answer = connection.mesh().api_answer("POST", "/v1/delete", {**request, "wait": wait}, timeout=_MARGIN + (wait or 0.0))
        if not isinstance(answer, dict):
            raise connection.refused(status, answer)
        if status == 404 and ignore_not_found:
            continue
        _merge(merged, answer)
        code = max(code, Exit.TIMED_OUT if status == 504 else Exit.FAILED if status >= 400 else Exit.DONE)
    if form.name in ("json", "yaml"):
        output.show_document(merged, form)
        return code
    tell_problems(merged["problems"])
    for each in merged["deleted"]:
        name = f"{each['kind'].lower()}/{each['name']}"
        click.echo(name if form.name == "name" else f"{name} deleted")
    if code == Exit.TIMED_OUT:
        talk("it is deleted, but not everything has ended within the time: see `hauberk status`")
    return code


def _delete_requests(kind_names: str | None, names: tuple[str, ...], files: tuple[str, ...], namespace: str) -> list[Document]:
    if files:
        if kind_names:
            raise click.UsageError("either -f FILE or KIND NAME")
        return [{"files": read_files(files), "namespace": namespace}]
    if kind_names and "/" in kind_names:
        kind_names, _, first = kind_names.partition("/")
        names = (first, *names)
    if not kind_names or not names:
        raise click.UsageError("what to delete? KIND NAME…, or -f FILE")
    return [
        {"kind": kind.name, "names": list(names), "namespace": namespace if kind.namespaced else None}
        for kind in kinds.kinds_named(kind_names)
    ]


def _merge(into: dict[str, Any], answer: Document) -> None:
    for name in ("deleted", "problems"):
        into[name] = [*into[name], *(answer.get(name) or [])]
    for name in ("affected", "acknowledged", "seconds"):
        into[name] += answer.get(name) or 0
