"""`hauberk explain`: what becomes of a request and why, predicted or after the fact."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import urlencode

import click

from hauberk.cli import connection, explain_view, invocation, output
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.options import files_option, read_files
from hauberk.cli.output import Format, output_option
from hauberk.cli.verbs import verb

Document = dict[str, Any]
_RECORDED = 2.0  # seconds until the record of a request that has just been made is there
_LOOK = 0.1


@verb(
    "explain",
    "hauberk explain --from shop/frontend --to orders POST /orders/17 --header x-tenant:acme --jwt token.txt",
    "hauberk explain --to orders.shop GET /                   # a caller without identity",
    "hauberk explain -f policies/ --from shop/frontend --to orders GET /orders   # no mesh needed",
    "hauberk explain --request-id 5f0c0d0e-…                  # why was that request denied?",
)
@click.argument("method", required=False, default="")
@click.argument("path", required=False, default="")
@click.option("--from", "source", metavar="NS/SA|POD", default="", help="Who calls; without it, a caller without identity.")
@click.option("--to", metavar="SERVICE[.NS][:PORT]", default="", help="Who is called: a service, pod/NAME or deploy/NAME.")
@click.option("--port", type=click.IntRange(1, 65535), help="The service's port, where it has several.")
@click.option("--header", "headers", multiple=True, metavar="K:V", help="A header of the request; several times.")
@click.option("--host", default="", help="The Host header.  [default: the service's name]")
@click.option("--jwt", metavar="FILE|-", help="The caller's token; or its claims, as JSON, taken as verified.")
@click.option("--from-address", metavar="IP", help="The address that the connection comes from.")
@click.option("--from-trust-domain", metavar="DOMAIN", default="", help="The trust domain of the caller, where it is not the mesh's.")
@click.option("--sni", help="The server name of the TLS handshake.")
@click.option("-n", "--namespace", default="", metavar="NS", help="Of short names.  [default: the caller's]")
@click.option("--request-id", metavar="ID", help="A request that has happened, by its id; see `hauberk access`.")
@click.option("--at", metavar="TIME", help="With the objects as they were at that time.")
@files_option
@output_option("table", "wide", "json", "yaml")
def explain(*, request_id: str | None, at: str | None, files: tuple[str, ...], form: Format, jwt: str | None, **asked: Any) -> int:
    """What becomes of a request and why: every layer, every policy that applies, and the smallest change that would turn the verdict.

    Ask a running mesh about a request that has not been made, or about one that has (--request-id, hours ago too); or ask files (-f),
    as a fresh mesh with these objects would answer.
    """
    if request_id:
        if files or asked["to"]:
            raise click.UsageError("--request-id is about a request that has happened: it goes with no other question")
        answer = _after_the_fact(request_id)
    else:
        if not asked["to"]:
            raise click.UsageError("whom does it call? --to SERVICE[.NAMESPACE]")
        if asked["method"] and not asked["path"] and not asked["method"].startswith("/"):
            raise click.UsageError("a request has METHOD and PATH, such as GET /orders; a path alone is asked for with GET")
        if at and files:
            raise click.UsageError("--at is about a mesh's past: it does not go with files")
        question = _question(asked, jwt)
        answer = _offline(files, question, asked["namespace"]) if files else _live(question, at)
    if form.is_table:
        for line in explain_view.lines(answer, colors=invocation.current().colors(sys.stdout), wide=form.wide):
            click.echo(line)
    else:
        output.show_document(answer, form)
    return Exit.DONE


def _question(asked: dict[str, Any], jwt: str | None) -> Document:
    method, path = asked["method"], asked["path"]
    if method.startswith("/") and not path:
        method, path = "", method
    told = {
        "from": asked["source"],
        "fromTrustDomain": asked["from_trust_domain"],
        "fromAddress": asked["from_address"],
        "to": asked["to"],
        "namespace": asked["namespace"],
        "port": asked["port"],
        "method": method,
        "path": path,
        "host": asked["host"],
        "headers": _headers(asked["headers"]),
        "sni": asked["sni"],
        **(_token(jwt) if jwt else {}),
    }
    return {name: value for name, value in told.items() if value not in ("", None, {})}


def _headers(given: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in given:
        name, colon, value = each.partition(":")
        if not colon or not name:
            raise click.UsageError(f"--header {each!r}: write NAME:VALUE")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


def _token(name: str) -> Document:
    (found,) = read_files((name,))
    text = found["text"].strip()
    if not text.startswith("{"):
        return {"token": text.removeprefix("Bearer ").strip()}
    try:
        return {"claims": json.loads(text)}
    except ValueError as error:
        raise Failure(f"{name} holds no claims", f"it is no JSON: {error}", "give a token, or its payload as JSON", Exit.USAGE) from error


def _live(question: Document, at: str | None) -> Document:
    body = {"question": question, **({"at": at} if at else {})}
    answer: Document = connection.mesh().api("POST", "/v1/explain", body)
    return {"question": _shown(question), **answer}


def _after_the_fact(request_id: str) -> Document:
    mesh = connection.mesh()
    answer: Document = mesh.api("POST", "/v1/explain", {"record": _record(mesh, request_id)})
    return answer


def _record(mesh: connection.Mesh, request_id: str) -> Document:
    """What the sidecar of the destination says of the request, for it decided; else what that of the source has seen."""
    deadline = time.monotonic() + _RECORDED
    while True:
        lines = mesh.agent_lines("/v1/access?" + urlencode({"requestId": request_id}))
        records = sorted((json.loads(line) for line in lines if line.strip()), key=lambda each: each.get("reporter") != "destination")
        if records and (records[0].get("reporter") == "destination" or time.monotonic() > deadline):
            found: Document = records[0]
            return found
        if time.monotonic() > deadline:
            what = f"there is no record of request {request_id}"
            raise Failure(what, "it was not made here, or so long ago that its record is gone", "see `hauberk access -o wide` for the ids")
        time.sleep(_LOOK)


def _offline(files: tuple[str, ...], question: Document, namespace: str) -> Document:
    from hauberk.cli.offline import OfflineMesh  # noqa: PLC0415 -- with all types of objects, which only this needs

    return {"question": _shown(question), **OfflineMesh.read(files, namespace).explain(question)}


def _shown(question: Document) -> Document:
    """Without the token: whoever reads the answer need not be able to use it."""
    return {name: value for name, value in question.items() if name != "token"}
