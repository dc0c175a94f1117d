"""Waiting for pods: progress on stderr while it lasts, and the reason as soon as it is clear that waiting is in vain."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import click

from hauberk.cli import connection, invocation, views
from hauberk.cli.connection import Document, Mesh
from hauberk.cli.failure import Exit, Failure

_INTERVAL = 0.1  # seconds between looks: shorter than anybody notices
# What waits by itself; every other reason of a waiting container means that somebody has to do something.
_PATIENT = {"ContainerCreating", "PodInitializing", "Pending", "SidecarStarting", "WaitingForSidecar", ""}
# Back-off follows a failure that is worth telling, but the program may also just have been early: the second time it is in vain.
_BACKING_OFF = {"CrashLoopBackOff", "BackOff", "Error", "Completed"}


class Progress:
    """One line on a terminal's stderr that says what is waited for; nothing where there is no terminal."""

    def __init__(self) -> None:
        self._shown = ""
        self._live = sys.stderr.isatty() and not invocation.current().quiet

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._live and text != self._shown:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
            self._shown = text

    def done(self) -> None:
        """Leave no line behind."""
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = ""


def wait_until(look: Callable[[], tuple[bool, str]], timeout: float, what: str) -> None:
    """Return when `look` says that it is done; Failure with exit code 4 when the time is over."""
    progress, deadline = Progress(), time.monotonic() + timeout
    try:
        while True:
            done, state = look()
            if done:
                return
            if time.monotonic() >= deadline:
                raise Failure(
                    f"{what}: not within {timeout:g} s", state, "it goes on in the background: see `hauberk get pods`", Exit.TIMED_OUT
                )
            progress.show(f"{what}: {state}")
            time.sleep(_INTERVAL)
    finally:
        progress.done()


def pods_with(mesh: Mesh, namespace: str, label: str) -> list[Document]:
    """The pods with a label that are not about to end."""
    listed: list[Document] = mesh.api("GET", connection.list_path("pods", namespace=namespace, labelSelector=label))["items"]
    return [pod for pod in listed if not views.get(pod, "metadata", "deletionTimestamp")]


def state_of(pods: Iterable[Document]) -> str:
    """What pods are doing, in few words."""
    words: dict[str, int] = {}
    for pod in pods:
        word = "ready" if views.is_ready(pod) else views.pod_phase(pod)
        words[word] = words.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in sorted(words.items())) or "no pods yet"


def hopeless(pods: Iterable[Document]) -> Failure | None:
    """Why waiting for these pods is in vain, if it is: a program that does not exist, that keeps failing, a pod that cannot be."""
    for pod in pods:
        found = _pod_obstacle(pod)
        if found is not None:
            reason, message = found
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            return Failure(
                f"pod {name} cannot start: {reason}",
                message,
                f"see `hauberk describe pod {name} -n {namespace}` and `hauberk logs {name} -n {namespace}`",
            )
    return None


def _pod_obstacle(pod: Document) -> tuple[str, str] | None:
    if views.get(pod, "status", "phase") == "Failed":
        return str(views.get(pod, "status", "reason", default="Failed")), _message(pod)
    for status in views.get(pod, "status", "containerStatuses", default=[]):
        waiting: Any = views.get(status, "state", "waiting", default={})
        reason = str(waiting.get("reason", ""))
        if reason in _PATIENT or not waiting:
            continue
        if reason in _BACKING_OFF and int(status.get("restartCount", 0)) < 1:
            continue
        return reason, str(waiting.get("message") or _ended(status) or _message(pod))
    return None


def _ended(status: Document) -> str:
    ended: Any = views.get(status, "lastState", "terminated", default={})
    return f"it ended with exit code {ended['exitCode']}" if "exitCode" in ended else ""


def _message(pod: Document) -> str:
    told = [views.get(pod, "status", "message", default="")]
    told += [each.get("message", "") for each in views.get(pod, "status", "conditions", default=[]) if each.get("status") == "False"]
    return next((click.unstyle(text) for text in told if text), "")
