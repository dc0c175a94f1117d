"""`hauberk scale` and `hauberk rollout`: how many replicas, and which template they have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from hauberk.cli import completion_names, connection, kinds, progress, views
from hauberk.cli.connection import MERGE_PATCH, Mesh
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import WaitSpan, namespace_option, wait_option
from hauberk.cli.verbs import Entry, VerbGroup, verb

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # kubectl's own annotation, so that both tools see each other's restarts


def deployment_name(text: str) -> str:
    """The name in `deploy/NAME` or `NAME`; wrong usage for any other kind."""
    kind, slash, name = text.rpartition("/")
    if slash and kinds.kind_named(kind).name != "Deployment":
        raise Failure(f"{text} is not a deployment", "only deployments have replicas", "name deploy/NAME", Exit.USAGE)
    return name


def fetch_deployment(mesh: Mesh, namespace: str, name: str) -> dict[str, Any]:
    """The deployment as it is now."""
    found: dict[str, Any] = mesh.api("GET", connection.object_path("deployments", namespace, name))
    return found


def patch_deployment(mesh: Mesh, namespace: str, name: str, spec: dict[str, Any]) -> None:
    """Change fields of the deployment's spec."""
    mesh.api("PATCH", connection.object_path("deployments", namespace, name), {"spec": spec}, headers=MERGE_PATCH)


@verb("scale", "hauberk scale deploy/web --replicas 5", "hauberk scale web --replicas 0 -n shop --wait")
@click.argument("where", metavar="deploy/NAME", shell_complete=completion_names.deployments)
@click.option("--replicas", required=True, type=click.IntRange(min=0), help="How many.")
@namespace_option
@wait_option("Return when that many are ready.  [TIMEOUT: 60s]")
def scale(*, where: str, replicas: int, namespace: str, wait: float | None) -> None:
    """Set the number of replicas."""
    mesh, name = connection.mesh(), deployment_name(where)
    patch_deployment(mesh, namespace, name, {"replicas": replicas})
    click.echo(f"deployment/{name} scaled to {replicas}")
    if wait is not None:
        wait_rolled_out(mesh, namespace, name, wait)


@click.command(
    "rollout",
    cls=VerbGroup,
    entries=(
        Entry("status", "hauberk.cli.deployments:rollout_status", "Wait until every replica has the present template.", "Commands"),
        Entry("restart", "hauberk.cli.deployments:rollout_restart", "Replace every pod, without losing a request.", "Commands"),
    ),
    examples=("hauberk rollout status deploy/web", "hauberk rollout restart deploy/web"),
)
def rollout() -> None:
    """Watch or restart the rollout of a deployment."""


@verb("status", "hauberk rollout status deploy/web", "hauberk rollout status web --timeout 30s -n shop")
@click.argument("where", metavar="deploy/NAME", shell_complete=completion_names.deployments)
@namespace_option
@click.option("--timeout", type=WaitSpan(), default="120s", show_default=True, metavar="T", help="How long to wait.")
@click.option("--no-watch", is_flag=True, help="Say how it stands, and do not wait.")
def rollout_status(*, where: str, namespace: str, timeout: float, no_watch: bool) -> None:
    """Wait until every replica of a deployment has the present template and is ready."""
    mesh, name = connection.mesh(), deployment_name(where)
    if no_watch:
        _, state = rollout_state(fetch_deployment(mesh, namespace, name))
        click.echo(state)
        return
    wait_rolled_out(mesh, namespace, name, timeout)
    click.echo(f"deployment/{name} is rolled out")


@verb("restart", "hauberk rollout restart deploy/web", "hauberk rollout restart web -n shop --wait")
@click.argument("where", metavar="deploy/NAME", shell_complete=completion_names.deployments)
@namespace_option
@wait_option("Return when every pod has been replaced.  [TIMEOUT: 60s]")
def rollout_restart(*, where: str, namespace: str, wait: float | None) -> None:
    """Replace every pod of a deployment by a new one of the same template, without losing a request."""
    mesh, name = connection.mesh(), deployment_name(where)
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    patch_deployment(mesh, namespace, name, {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}})
    click.echo(f"deployment/{name} restarted")
    if wait is not None:
        wait_rolled_out(mesh, namespace, name, wait)


def rollout_state(deployment: dict[str, Any]) -> tuple[bool, str]:
    """Whether the rollout is complete, and how it stands."""
    wanted = int(views.get(deployment, "spec", "replicas", default=1))
    status = deployment.get("status") or {}
    total, updated, ready = (int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "readyReplicas"))
    if int(status.get("observedGeneration") or 0) < int(deployment["metadata"].get("generation") or 0):
        return False, "the change has not been taken up yet"
    if updated < wanted:
        return False, f"{updated} of {wanted} replicas have the present template"
    if total > updated:
        return False, f"{total - updated} old replicas are still to end"
    if ready < wanted or total > wanted:
        return False, f"{ready} of {wanted} replicas are ready"
    return True, f"{ready} of {wanted} replicas are ready and up to date"


def wait_rolled_out(mesh: Mesh, namespace: str, name: str, timeout: float) -> None:
    """Return when the rollout is complete; Failure when that is in vain or takes too long."""

    def look() -> tuple[bool, str]:
        deployment = fetch_deployment(mesh, namespace, name)
        done, state = rollout_state(deployment)
        labels = views.get(deployment, "spec", "selector", "matchLabels", default={})
        obstacle = None if done else progress.hopeless(progress.pods_with(mesh, namespace, views.pairs(labels)))
        if obstacle is not None:
            raise obstacle
        return done, state

    progress.wait_until(look, timeout, f"rollout of {name}")
    talk(f"{name} is ready")
