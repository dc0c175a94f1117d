"""`hauberk logs`: what the program of a pod has printed, or its Envoy."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import click

from hauberk.cli import completion_names, connection, target
from hauberk.cli.options import namespace_option
from hauberk.cli.verbs import verb


@verb("logs", "hauberk logs web", "hauberk logs deploy/web -f", "hauberk logs web --proxy --tail 50", "hauberk logs web --previous")
@click.argument("where", metavar="TARGET", shell_complete=completion_names.targets)
@namespace_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed from now on.")
@click.option("-c", "--container", metavar="NAME", help="Which container.  [default: the first]")
@click.option("--proxy", is_flag=True, help="The log of its Envoy instead.")
@click.option("-p", "--previous", is_flag=True, help="Of the program's life before its last restart.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines.")
def logs(*, where: str, namespace: str, follow: bool, container: str | None, proxy: bool, previous: bool, tail: int | None) -> None:
    """What a pod's program, or its proxy, has printed."""
    if follow and previous:
        raise click.UsageError("what is over cannot be followed: --follow or --previous")
    mesh = connection.mesh()
    pod = target.find_pod(mesh, target.parse_target(where, namespace))["metadata"]
    wanted = {
        "container": container,
        "follow": "true" if follow else None,
        "previous": "true" if previous else None,
        "proxy": "true" if proxy else None,
        "tail": str(tail) if tail is not None else None,
    }
    query = urlencode({name: value for name, value in wanted.items() if value is not None})
    for line in mesh.agent_lines(f"/v1/pods/{quote(pod['namespace'])}/{quote(pod['name'])}/logs?{query}"):
        click.echo(line)
