"""`hauberk proxy`: what the Envoy of a pod holds, says and counts, through the agent; nothing of it is reachable from inside a pod."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import click

from hauberk.cli import completion_names, connection, output, proxy_views, target
from hauberk.cli.connection import Mesh
from hauberk.cli.failure import Failure
from hauberk.cli.options import namespace_option
from hauberk.cli.output import Format, output_option
from hauberk.cli.status import PROXY_HEADER, fetch_status, proxy_row
from hauberk.cli.verbs import Entry, VerbGroup, verb

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
_HERE = "hauberk.cli.proxy"


@click.command(
    "proxy",
    cls=VerbGroup,
    entries=(
        Entry("status", f"{_HERE}:proxy_status", "Every proxy: synced, certificate, what it rejected.", "Commands"),
        Entry("config", f"{_HERE}:proxy_config", "What a proxy was configured with.", "Commands"),
        Entry("log", f"{_HERE}:proxy_log", "Show or set a proxy's log level.", "Commands"),
        Entry("stats", f"{_HERE}:proxy_stats", "A proxy's counters.", "Commands"),
    ),
    examples=("hauberk proxy status", "hauberk proxy config web clusters"),
)
def proxy() -> None:
    """Look into the Envoy of a pod."""


@verb("status", "hauberk proxy status", "hauberk proxy status -o json")
@output_option("table", "json", "yaml", "jsonpath")
def proxy_status(*, form: Format) -> None:
    """Every proxy: is it synced, which certificate does it hold, what did it reject?"""
    found = fetch_status(connection.mesh())["proxies"]
    if form.is_table:
        output.show_rows(PROXY_HEADER, [proxy_row(each) for each in found])
    else:
        output.show_document(found, form)


@verb(
    "config",
    "hauberk proxy config web clusters",
    "hauberk proxy config web.shop listeners",
    "hauberk proxy config deploy/web all -o json",
)
@click.argument("where", metavar="TARGET", shell_complete=completion_names.targets)
@click.argument("part", type=click.Choice([*proxy_views.SECTIONS, "all"]), default="all")
@namespace_option
@output_option("table", "json", "yaml", "jsonpath")
def proxy_config(*, where: str, part: str, namespace: str, form: Format) -> None:
    """What a proxy was configured with: listeners, routes, clusters, endpoints, secrets (without keys), bootstrap."""
    mesh = connection.mesh()
    dump = _as_json(_admin(mesh, "GET", _pod(mesh, where, namespace), "config_dump?include_eds"))
    if form.is_table and part != "bootstrap":
        _show_tables(dump, [each for each in proxy_views.SECTIONS if each != "bootstrap"] if part == "all" else [part])
        return
    document = dump if part == "all" else proxy_views.section(dump, part)
    output.show_document(document, Format("yaml") if form.is_table else form)


def _show_tables(dump: dict[str, Any], parts: list[str]) -> None:
    for position, part in enumerate(parts):
        if position:
            click.echo()
        found = proxy_views.listing(dump, part)
        output.show_rows(found.header, found.rows)


@verb("log", "hauberk proxy log web", "hauberk proxy log web debug", "hauberk proxy log web rbac:debug")
@click.argument("where", metavar="TARGET", shell_complete=completion_names.targets)
@click.argument("level", metavar="[LEVEL|LOGGER:LEVEL]", required=False)
@namespace_option
def proxy_log(*, where: str, level: str | None, namespace: str) -> None:
    """Show the log levels of a proxy, or set one for all its loggers or for one."""
    mesh = connection.mesh()
    if level is None:
        for line in proxy_views.levels(str(_admin(mesh, "POST", _pod(mesh, where, namespace), "logging"))):
            click.echo(line)
        return
    logger, colon, wanted = level.rpartition(":")
    if wanted not in LEVELS:
        raise click.BadParameter(f"{wanted!r} is not one of {', '.join(LEVELS)}", param_hint="LEVEL")
    query = urlencode({logger if colon else "level": wanted})
    _admin(mesh, "POST", _pod(mesh, where, namespace), f"logging?{query}")
    click.echo(f"{where} now logs {level}; read it with `hauberk logs {where} --proxy -f`")


@verb("stats", "hauberk proxy stats web", "hauberk proxy stats web rbac")
@click.argument("where", metavar="TARGET", shell_complete=completion_names.targets)
@click.argument("pattern", metavar="[REGEX]", required=False)
@namespace_option
@click.option("--all", "everything", is_flag=True, help="Also what is still zero.")
def proxy_stats(*, where: str, pattern: str | None, namespace: str, everything: bool) -> None:
    """A proxy's counters and gauges, all or those whose name matches."""
    mesh = connection.mesh()
    query = urlencode({**({} if everything else {"usedonly": ""}), **({"filter": pattern} if pattern else {})})
    click.echo(str(_admin(mesh, "GET", _pod(mesh, where, namespace), f"stats?{query}") or "").rstrip())


def _pod(mesh: Mesh, where: str, namespace: str) -> dict[str, Any]:
    return target.find_pod(mesh, target.parse_target(where, namespace))


def _admin(mesh: Mesh, method: str, pod: dict[str, Any], path: str) -> Any:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    status, answer = mesh.agent_answer(method, f"/v1/pods/{quote(namespace)}/{quote(name)}/envoy/{path}")
    if status >= 400:
        if connection.problems_of(answer):
            raise connection.refused(status, answer)
        raise Failure(f"the Envoy of {namespace}/{name} refused {path.partition('?')[0]}", str(answer), "check the argument")
    return answer


def _as_json(answer: Any) -> dict[str, Any]:
    # Envoy's admin says text/plain for some of its JSON.
    found: dict[str, Any] = json.loads(answer) if isinstance(answer, str) else answer
    return found
