"""`hauberk ca rotate`: another issuing key, or another root, while everything goes on."""

from __future__ import annotations

import time
from typing import Any

import click

from hauberk.cli import connection, output
from hauberk.cli.connection import Mesh
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.invocation import talk
from hauberk.cli.options import WaitSpan
from hauberk.cli.output import Format, output_option
from hauberk.cli.plain import printable
from hauberk.cli.progress import Progress
from hauberk.cli.verbs import verb

_ROTATE = "/v1/ca/rotate"
_ROTATE_TOKENS = "/v1/ca/jwks/rotate"
ROTATION = "/v1/ca/rotation"
_INTERVAL = 0.1  # seconds between looks
_NAMED = 3  # stragglers that fit on a line
_GOES_ON = "it goes on in the background; look again with `hauberk ca rotate --status`, go back with `hauberk ca rotate --root --abort`"


@verb(
    "rotate",
    "hauberk ca rotate",
    "hauberk ca rotate --root",
    "hauberk ca rotate --root --no-wait",
    "hauberk ca rotate --status",
    "hauberk ca rotate --root --abort",
    "hauberk ca rotate --tokens",
)
@click.option("--root", is_flag=True, help="Exchange the trust anchor itself: distribute, prove, switch, prove, retire.")
@click.option("--abort", is_flag=True, help="With --root: go back to the former root.")
@click.option("--tokens", is_flag=True, help="Publish the next key that signs tokens (JWT-SVIDs).")
@click.option("--status", is_flag=True, help="Show how far an exchange of the root has come, and change nothing.")
@click.option("--no-wait", is_flag=True, help="Return as soon as it has begun.")
@click.option("--timeout", type=WaitSpan(), default="10m", show_default=True, metavar="T", help="How long to follow it.")
@output_option("table", "json", "yaml", "jsonpath")
def rotate(*, root: bool, abort: bool, tokens: bool, status: bool, no_wait: bool, timeout: float, form: Format) -> None:
    """Make a new issuing key; with --root, exchange the root.

    The new key signs from now on, or, while certificates are revoked, as soon as every proxy has its revocation list.

    Nothing restarts and no request fails. Every step of an exchange of the root waits for the proof that all agents and all proxies
    hold what they need; who is waited for is named. Interrupt the command as you like: the exchange goes on, also over restarts, and
    the same command follows it again.
    """
    mesh = connection.mesh()
    if abort and not root:
        raise Failure("what is to be aborted?", "", "an exchange of the root: hauberk ca rotate --root --abort", Exit.USAGE)
    if tokens and (root or status):
        raise Failure("what is to be changed?", "", "the key of tokens by itself: hauberk ca rotate --tokens", Exit.USAGE)
    if tokens:
        _tell_tokens(mesh.api("POST", _ROTATE_TOKENS, {}), form)
    elif status:
        _show(mesh.api("GET", ROTATION), form)
    elif root:
        begun = _begin(mesh, abort=abort)
        _show(begun if no_wait else follow(mesh, begun, timeout, quiet=not form.is_table), form)
    else:
        _tell_issuing(mesh.api("POST", _ROTATE, {}), form)


def _begin(mesh: Mesh, *, abort: bool) -> dict[str, Any]:
    going: dict[str, Any] = mesh.api("GET", ROTATION)
    if not abort and going["stage"] not in ("none", "done"):
        talk(f"an exchange of the root is going on since {going['started']}; following it")
        return going
    begun: dict[str, Any] = mesh.api("POST", _ROTATE, {"root": True, "abort": abort})
    return begun


def follow(mesh: Mesh, rotation: dict[str, Any], timeout: float, *, quiet: bool) -> dict[str, Any]:
    """How it ended; each step is told when it is done."""
    progress, deadline, told = Progress(), time.monotonic() + timeout, set[str]()
    try:
        while True:
            for step in rotation["steps"]:
                if step["state"] == "done" and step["name"] not in told and not quiet:
                    progress.done()
                    talk(f"  ✓ {step['name']:<10} {step['detail']}")
                told |= {step["name"]} if step["state"] == "done" else set()
            if rotation["stage"] in ("none", "done"):
                return rotation
            if time.monotonic() >= deadline:
                raise Failure(f"the exchange of the root is not done within {timeout:g} s", _waiting(rotation), _GOES_ON, Exit.TIMED_OUT)
            progress.show(_waiting(rotation))
            time.sleep(_INTERVAL)
            rotation = mesh.api("GET", ROTATION)
    except KeyboardInterrupt:
        progress.done()
        talk(_GOES_ON)
        raise
    finally:
        progress.done()


def _waiting(rotation: dict[str, Any]) -> str:
    """What is missing, and of whom."""
    whom = rotation["waitingFor"]
    named = "; ".join(whom[:_NAMED]) + (f"; and {len(whom) - _NAMED} more" if len(whom) > _NAMED else "")
    return printable(f"{rotation['stage']}: waiting for {len(whom)} {rotation['waiting']}: {named}" if whom else rotation["stage"])


def _show(rotation: dict[str, Any], form: Format) -> None:
    if not form.is_table:
        output.show_document(rotation, form)
        return
    if rotation["stage"] == "none":
        talk("the root was never exchanged")
        return
    if rotation["stage"] == "done":
        back = "; the exchange was aborted" if rotation["aborting"] else ""
        click.echo(f"{rotation['new']} is the root of the mesh, {rotation['old']} is gone{back}")
        return
    for step in rotation["steps"]:
        mark = {"done": "✓", "current": "→", "pending": " "}[step["state"]]
        click.echo(f"  {mark} {step['name']:<10} {step['detail']}")
    for each in rotation["waitingFor"]:
        click.echo(f"      waiting for {printable(each)}")
    talk(_GOES_ON if rotation["abortable"] else "it can no longer be aborted")


def _tell_issuing(answer: dict[str, Any], form: Format) -> None:
    if not form.is_table:
        output.show_document(answer, form)
        return
    if answer["slot"] == "prepared":
        click.echo(f"{answer['authority']} is prepared, and signs as soon as every proxy has its revocation list")
        talk("who has not: hauberk ca show")
        return
    click.echo(f"{answer['authority']} signs from now on; certificates are renewed at their usual time")


def _tell_tokens(answer: dict[str, Any], form: Format) -> None:
    if not form.is_table:
        output.show_document(answer, form)
        return
    minutes = answer["publishedForSeconds"] / 60
    click.echo(f"{answer['key']} is published, and signs tokens when every agent has it, in {minutes:g} minutes at the earliest")
