"""`hauberk run`: a program of one's own in the mesh, without writing a file."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from hauberk.cli import connection, output, progress, views
from hauberk.cli.connection import Mesh, tell_problems
from hauberk.cli.deployments import wait_rolled_out
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.objects import apply_texts
from hauberk.cli.options import namespace_option, wait_option
from hauberk.cli.output import output_option
from hauberk.cli.program import Program, documents, inherited, parse_port
from hauberk.cli.verbs import verb

_PATIENCE = 60.0  # seconds until the program is ready, unless --wait says otherwise
_ENDING = 40.0  # seconds for an attached program to end: the default grace of a pod, and some


@verb(
    "run",
    "hauberk run web --port 8080 -- python3 -m http.server 8080",
    "hauberk run client -- sleep infinity",
    "hauberk run api --port grpc:9090 --replicas 3 -e LEVEL=debug -l version=v2 -- ./server",
    "hauberk run once --attach -- python3 check.py",
    context_settings={"allow_interspersed_args": True},
)
@click.argument("name")
@click.option("-p", "--port", "ports", multiple=True, metavar="[PROTO:]P", help="A port it serves; several times.")
@click.option("--service-account", default="", metavar="SA", help="Its identity.  [default: NAME]")
@click.option("--replicas", type=click.IntRange(min=0), default=1, show_default=True, help="How many.")
@click.option("-l", "--label", "labels", multiple=True, metavar="K=V", help="A label of its pods; several times.")
@click.option("-e", "--env", "environment", multiple=True, metavar="K=V", help="A variable; several times. K alone copies yours.")
@click.option("--no-service", is_flag=True, help="No Service, although it has ports.")
@click.option("--no-sidecar", is_flag=True, help="Outside the mesh: no Envoy, no identity, no ClusterIPs.")
@click.option("--attach", is_flag=True, help="Stay, show what it prints, pass on its exit code; it ends when you leave.")
@namespace_option
@wait_option("How long to wait until it is ready; 0 does not wait.  [default: 60s]")
@click.option("--dry-run", is_flag=True, help="Only show the objects (-o yaml or json).")
@output_option("table", "json", "yaml", "name")
@click.argument("command", metavar="-- CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(*, name: str, wait: float | None, dry_run: bool, form: output.Format, **options: Any) -> int:
    """Run a program of your own in the mesh: a Deployment, a Service if it has ports, a ServiceAccount.

    It starts in this directory, with your PATH and HOME, and nothing else of your environment.

    With --no-sidecar it reaches pod addresses and the names of headless Services only: the ClusterIP of any other Service leads
    nowhere, because sidecars are what leads to it (there is no kube-proxy).
    """
    program = _program(name, options)
    listed = documents(program)
    if dry_run:
        output.show_document({"apiVersion": "v1", "kind": "List", "items": listed}, form if not form.is_table else output.Format("yaml"))
        return Exit.DONE
    mesh = connection.mesh()
    created = _apply(mesh, program, listed, form)
    if program.once:
        return _attach(mesh, program, created)
    if wait != 0:
        wait_rolled_out(mesh, program.namespace, program.name, _PATIENCE if wait is None else wait)
    return Exit.DONE


def _program(name: str, options: dict[str, Any]) -> Program:
    if options["attach"] and options["replicas"] != 1:
        raise click.UsageError("--attach goes with one replica")
    command = options["command"]
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise click.UsageError("which program? hauberk run NAME -- CMD…")
    try:
        ports = tuple(parse_port(text) for text in options["ports"])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--port") from error
    return Program(
        name=name,
        namespace=options["namespace"],
        argv=argv,
        directory=_directory(),
        ports=ports,
        service_account=options["service_account"],
        replicas=options["replicas"],
        labels=_pairs(options["labels"], "--label"),
        environment={**inherited(os.environ), **_pairs(options["environment"], "--env", copy=True)},
        service=not options["no_service"],
        once=options["attach"],
        inject=not options["no_sidecar"],
    )


def _directory() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError as error:
        raise Failure("this directory does not exist any more", "the program would start in it", "go to another and try again") from error


def _pairs(given: tuple[str, ...], option: str, *, copy: bool = False) -> dict[str, str]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals and copy and name in os.environ:
            value = os.environ[name]
        elif not equals or not name:
            raise click.BadParameter(f"{each!r} is not K=V", param_hint=option)
        found[name] = value
    return found


def _apply(mesh: Mesh, program: Program, listed: list[dict[str, Any]], form: output.Format) -> list[tuple[str, str]]:
    if program.namespace != "default":
        status, _ = mesh.api_answer("GET", connection.object_path("namespaces", None, program.namespace))
        if status == 404:
            listed = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": program.namespace}}, *listed]
    text = output.encode({"apiVersion": "v1", "kind": "List", "items": listed}, output.Format("json"))
    status, answer = apply_texts([{"name": f"hauberk run {program.name}", "text": text}], program.namespace)
    if status >= 400:
        tell_problems(connection.problems_of(answer), least="warning")
        raise Failure(f"cannot run {program.name}", "the mesh refused its objects", "correct what is said above")
    tell_problems(connection.problems_of(answer), least="warning")
    if form.name in ("json", "yaml"):
        output.show_document(answer, form)
    elif not program.once:
        for each in answer["applied"]:
            name = f"{each['kind'].lower()}/{each['name']}"
            click.echo(name if form.name == "name" else f"{name} {each['result']}")
    return [(each["kind"], each["name"]) for each in answer["applied"] if each["result"] == "created" and each["kind"] != "Namespace"]


def _attach(mesh: Mesh, program: Program, created: list[tuple[str, str]]) -> int:
    try:
        ended = threading.Event()
        printing = threading.Thread(target=_print_logs, args=(mesh, program, ended), daemon=True)
        _wait_started(mesh, program)
        printing.start()
        code = _wait_ended(mesh, program)
        ended.set()
        printing.join(timeout=2.0)
        return code
    finally:
        for kind, name in created:
            body = {"kind": kind, "names": [name], "namespace": program.namespace, "wait": _ENDING if kind == "Pod" else None}
            mesh.api_answer("POST", "/v1/delete", body, timeout=_ENDING + 10)


def _wait_started(mesh: Mesh, program: Program) -> None:
    def look() -> tuple[bool, str]:
        pod = mesh.api("GET", connection.object_path("pods", program.namespace, program.name))
        states = [views.get(status, "state", default={}) for status in views.get(pod, "status", "containerStatuses", default=[])]
        if any("running" in state or "terminated" in state for state in states):
            return True, ""
        obstacle = progress.hopeless([pod])
        if obstacle is not None:
            raise obstacle
        return False, progress.state_of([pod])

    progress.wait_until(look, _PATIENCE, f"{program.name} started")


def _wait_ended(mesh: Mesh, program: Program) -> int:
    path = connection.list_path("pods", namespace=program.namespace, watch="true")
    for event in mesh.api_lines(path):
        pod: Any = event.get("object") or {}
        if views.get(pod, "metadata", "name") != program.name or event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
            continue
        for status in views.get(pod, "status", "containerStatuses", default=[]):
            ended = views.get(status, "state", "terminated")
            if ended is not None:
                return int(ended.get("exitCode", 1))
        if event["type"] == "DELETED":
            raise Failure(f"{program.name} was deleted while it ran", "", "run it again")
    raise Failure(f"lost sight of {program.name}", "the control plane closed the watch", "run it again", Exit.UNREACHABLE)


def _print_logs(mesh: Mesh, program: Program, ended: threading.Event) -> None:
    path = f"/v1/pods/{quote(program.namespace)}/{quote(program.name)}/logs?follow=true"
    try:
        for line in mesh.agent_lines(path):
            click.echo(line)
    except Failure as failure:
        if not ended.is_set():
            talk(failure.lines()[0])
