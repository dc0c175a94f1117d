"""The `hauberk` command: finds the command that was asked for, runs it, and turns what went wrong into words and an exit code."""

from __future__ import annotations

import os
import sys
import traceback

import click

from hauberk import __version__
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import Invocation
from hauberk.cli.verbs import Entry, VerbGroup

_MESH, _OBJECTS, _PODS, _SEE, _REST = "The mesh", "Objects", "Pods", "Seeing", "More"

COMMANDS = (
    Entry("demo", "hauberk.cli.demo:demo", "A mesh with the demo shop, live; --check verifies it unattended.", _MESH),
    Entry("check", "hauberk.cli.check:check", "Can this machine run a mesh? Each obstacle with its remedy.", _MESH),
    Entry("up", "hauberk.cli.lifecycle:up", "Start the mesh.", _MESH),
    Entry("down", "hauberk.cli.lifecycle:down", "End the mesh; nothing is left behind.", _MESH),
    Entry("ca", "hauberk.cli.ca:ca", "The certificate authority: plug in your own, revoke.", _MESH),
    Entry("status", "hauberk.cli.status:status", "Control plane, agent and proxies: synced, certificates, health.", _MESH),
    Entry("apply", "hauberk.cli.objects:apply", "Create or change objects from files.", _OBJECTS),
    Entry("delete", "hauberk.cli.objects:delete", "Delete objects, by file or by name.", _OBJECTS),
    Entry("get", "hauberk.cli.get:get", "Show objects.", _OBJECTS),
    Entry("describe", "hauberk.cli.describe:describe", "Everything worth knowing of one object.", _OBJECTS),
    Entry("run", "hauberk.cli.run:run", "Run a program of your own in the mesh.", _PODS),
    Entry("scale", "hauberk.cli.deployments:scale", "Set the number of replicas.", _PODS),
    Entry("rollout", "hauberk.cli.deployments:rollout", "Watch or restart the rollout of a deployment.", _PODS),
    Entry("exec", "hauberk.cli.exec:exec_", "Run a command inside a pod.", _PODS),
    Entry("logs", "hauberk.cli.logs:logs", "What a pod's program, or its proxy, has printed.", _PODS),
    Entry("port-forward", "hauberk.cli.port_forward:port_forward", "A local port that leads into a pod.", _PODS),
    Entry("access", "hauberk.cli.access:access", "Access records: who called whom, and what was decided.", _SEE),
    Entry("explain", "hauberk.cli.explain:explain", "What becomes of a request, and why; also of one that has happened.", _SEE),
    Entry("test", "hauberk.cli.policy_test:test", "Policy tests: expectations about requests, offline or by real sidecars.", _SEE),
    Entry("analyze", "hauberk.cli.analyze:analyze", "Dead rules, contradictions, names that mean nobody: of the mesh or of files.", _SEE),
    Entry("audit", "hauberk.cli.audit:audit", "What happened to identities, in a log that nobody changes unseen.", _SEE),
    Entry("proxy", "hauberk.cli.proxy:proxy", "Look into the Envoy of a pod.", _SEE),
    Entry("version", "hauberk.cli.about:version", "Versions of this command, of the mesh and of Envoy.", _REST),
    Entry("completion", "hauberk.cli.completion:completion", "Completion for bash, zsh or fish.", _REST),
    Entry("help", "hauberk.cli.about:help_", "Help on a command, or on a problem code.", _REST),
    Entry("control-plane", "hauberk.cli.parts:control_plane", "The control plane by itself.", _REST),
    Entry("agent", "hauberk.cli.parts:agent", "The agent by itself.", _REST),
)


@click.command(
    "hauberk",
    cls=VerbGroup,
    entries=COMMANDS,
    examples=(
        "hauberk demo",
        "hauberk up --detach --wait",
        "hauberk run web --port 8080 -- python3 -m http.server 8080",
        "hauberk get pods -o wide",
    ),
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def root() -> None:
    """A service mesh on any Linux machine: mutual TLS, policy and records for programs that know nothing of it."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    if "_HAUBERK_COMPLETE" in os.environ:
        from hauberk.cli.completion import answer  # noqa: PLC0415 -- only a shell that asks for completions pays for it

        return answer(root)
    context: list[click.Context] = []
    try:
        code = _invoke(sys.argv[1:] if arguments is None else arguments, context)
    except Failure as failure:
        code = _tell(failure, context)
    except click.UsageError as wrong:
        code = _tell_usage(wrong)
    except click.ClickException as wrong:
        click.echo(f"error: {wrong.format_message()}", err=True)
        code = Exit.FAILED
    except (click.Abort, KeyboardInterrupt):
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`hauberk get pods | head -1`): not a failure, and nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    except Exception as bug:
        code = _tell_bug(bug, context)
    return code


def _invoke(arguments: list[str], seen: list[click.Context]) -> int:
    try:
        with root.make_context("hauberk", list(arguments), obj=Invocation()) as context:
            seen.append(context)
            result = root.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    sys.stdout.flush()
    return result if isinstance(result, int) else Exit.DONE


def _verbose(seen: list[click.Context]) -> bool:
    if not seen or not isinstance(seen[0].obj, Invocation):
        return False
    return seen[0].obj.verbose


def _tell(failure: Failure, seen: list[click.Context]) -> int:
    if _verbose(seen):
        traceback.print_exception(failure)
    for line in failure.lines():
        click.echo(line, err=True)
    return failure.code


def _tell_usage(wrong: click.UsageError) -> int:
    if isinstance(wrong, click.exceptions.NoArgsIsHelpError):
        click.echo(wrong.format_message(), err=True)
        return Exit.USAGE
    click.echo(f"error: {wrong.format_message()}", err=True)
    if wrong.ctx is not None:
        click.echo(f"   do: see `{wrong.ctx.command_path} --help`", err=True)
    return Exit.USAGE


def _tell_bug(bug: Exception, seen: list[click.Context]) -> int:
    if _verbose(seen):
        traceback.print_exception(bug)
    told = Failure(
        f"hauberk itself failed: {type(bug).__name__}", str(bug), "run it again with -v for the traceback; this is a bug worth reporting"
    )
    return _tell(told, [])
