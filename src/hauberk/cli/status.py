"""`hauberk status`: the mesh at a glance, joined from what the control plane and the agent know."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import click

from hauberk.cli import connection, issuers, output
from hauberk.cli.age import moment, span
from hauberk.cli.connection import Mesh
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.options import wait_option
from hauberk.cli.output import Format, output_option
from hauberk.cli.plain import printable
from hauberk.cli.progress import wait_until
from hauberk.cli.table import Cell, bad, good, middling
from hauberk.cli.verbs import verb
from hauberk.cli.views import get

Document = dict[str, Any]
_INTERVAL = 1.0  # seconds between two looks of --watch
_OF_THE_AGENT = ("ready", "certificate", "problem", "alarm")  # what the agent knows better
PROXY_HEADER = ("POD", "NAMESPACE", "READY", "SYNCED", "CERTIFICATE", "EXPIRES IN", "REJECTED")


@verb("status", "hauberk status", "hauberk status -o json", "hauberk status --watch", "hauberk status --wait=30s")
@click.option("-w", "--watch", is_flag=True, help="Show it again whenever it changes.")
@wait_option("First wait until control plane and agent are ready and every proxy is synced.  [TIMEOUT: 60s]")
@output_option("table", "wide", "json", "yaml", "jsonpath")
def status(*, watch: bool, wait: float | None, form: Format) -> int:
    """Control plane, agent and proxies: synced, certificates, health. The exit code says whether all is well."""
    mesh = connection.mesh()
    if wait is not None:
        wait_until(lambda: _settled(mesh), wait, "the mesh ready")
    shown = ""
    while True:
        document = fetch_status(mesh)
        text = "\n".join(tables(document)) if form.is_table else output.encode(document, form)
        if text != shown:
            click.echo(text)
        if not watch:
            return Exit.DONE if healthy(document) else Exit.FAILED
        shown = text
        time.sleep(_INTERVAL)


def fetch_status(mesh: Mesh) -> Document:
    """The joined status; Failure only if neither half of the mesh answers."""
    halves: list[Document | Failure] = []
    for ask in (mesh.api, mesh.agent):
        try:
            halves.append(ask("GET", "/v1/status"))
        except Failure as failure:
            halves.append(failure)
    pilot, agent = halves
    if isinstance(pilot, Failure) and isinstance(agent, Failure):
        raise pilot
    return join(None if isinstance(pilot, Failure) else pilot, None if isinstance(agent, Failure) else agent)


def _settled(mesh: Mesh) -> tuple[bool, str]:
    """Whether all is well, for somebody who waits for a mesh that may only be starting."""
    try:
        document = fetch_status(mesh)
    except Failure as failure:
        return False, failure.what
    proxies = document["proxies"]
    waiting = sum(not (proxy.get("ready") and proxy.get("synced")) for proxy in proxies)
    return healthy(document) and not waiting, f"{len(proxies) - waiting} of {len(proxies)} proxies are ready and synced"


def join(pilot: Document | None, agent: Document | None) -> Document:
    """One status from the control plane's half and the agent's; a half that does not answer is not ready."""
    control = get(pilot, "controlPlane", default={"ready": False, "version": None, "uptimeSeconds": None})
    proxies = {(each.get("namespace"), each.get("pod")): dict(each) for each in get(pilot, "proxies", default=[])}
    for each in get(agent, "proxies", default=[]):
        key = (each.get("namespace"), each.get("pod"))
        known = proxies.setdefault(key, {"pod": each.get("pod"), "namespace": each.get("namespace"), "synced": False, "rejected": []})
        known.update({name: value for name, value in each.items() if value is not None and name in _OF_THE_AGENT})
        known["rejected"] = known.get("rejected") or each.get("rejected") or []  # both tell of the same; pilot says more
    # What the control plane knows are the agents of other machines; its own speaks for itself.
    own = get(agent, "agents", default=None) or ([get(agent, "agent")] if get(agent, "agent") else [])
    agents = (own or [{"node": "local", "ready": False, "pods": None}]) + get(pilot, "agents", default=[])
    document: Document = {"controlPlane": control, "agents": agents, "proxies": [proxies[key] for key in sorted(proxies, key=str)]}
    document["issuers"] = get(pilot, "issuers", default=[])
    if get(agent, "records"):
        document["records"] = agent["records"] if agent else {}
    return document


def healthy(document: Document) -> bool:
    """Everything that runs is as it should be."""
    parts = [document["controlPlane"], *document["agents"]]
    return all(part.get("ready") for part in parts) and not any(
        proxy.get("rejected") or proxy.get("alarm") for proxy in document["proxies"]
    )


def tables(document: Document) -> list[str]:
    """The status for people."""
    from hauberk.cli import invocation, table  # noqa: PLC0415 -- `-o json` needs neither

    colors = invocation.current().colors()
    control = document["controlPlane"]
    parts: list[table.Row] = [
        ("control plane", _ready(control.get("ready")), f"version {control.get('version') or '?'}, up {_up(control.get('uptimeSeconds'))}")
    ]
    parts += [
        (
            f"agent {each.get('node', '')}".strip(),
            _ready(each.get("ready")),
            f"{each.get('pods') if each.get('pods') is not None else '?'} pods" + (f"; {each['problem']}" if each.get("problem") else ""),
        )
        for each in document["agents"]
    ]
    if records := document.get("records"):
        parts.append(("records", f"{records.get('stored', '?')} kept", f"{records.get('dropped', 0)} dropped"))
    lines = table.columns(("PART", "STATE", ""), parts, colors=colors)
    rows = [proxy_row(proxy) for proxy in document["proxies"]]
    lines += ["", *(table.columns(PROXY_HEADER, rows, colors=colors) if rows else ["no proxies: no pod is in the mesh yet"])]
    for proxy in document["proxies"]:
        if problem := proxy.get("problem"):
            lines.append(f"{proxy['namespace']}/{proxy['pod']}: {printable(' '.join(str(problem).split()))}")
        for each in proxy.get("rejected") or []:
            message = printable(" ".join(str(each.get("message")).split()))
            lines.append(f"rejected by {proxy['namespace']}/{proxy['pod']}: {each.get('resource')} (from {each.get('object')}): {message}")
    return [*lines, *issuers.troubles(document.get("issuers") or [])]


def proxy_row(proxy: Document) -> list[str | Cell]:
    """One proxy as a row."""
    rejected = len(proxy.get("rejected") or [])
    certificate = proxy.get("certificate") or {}
    return [
        str(proxy.get("pod")),
        str(proxy.get("namespace")),
        _ready(proxy.get("ready")),
        good("yes") if proxy.get("synced") else middling("no"),
        str(certificate.get("spiffeId") or "-").removeprefix("spiffe://"),
        _left(certificate.get("notAfter")),
        bad(str(rejected)) if rejected else "0",
    ]


def _ready(value: Any) -> Cell:
    return good("ready") if value else bad("not ready")


def _left(text: str | None) -> str:
    then = moment(text) if text else None
    return span(then - datetime.now(UTC)) if then else "-"


def _up(seconds: Any) -> str:
    from datetime import timedelta  # noqa: PLC0415 -- beside its only use

    return span(timedelta(seconds=float(seconds))) if seconds is not None else "?"
