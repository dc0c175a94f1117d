"""The running mesh as commands see it: its API and its agent, with every failure told as what, why and what to do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

import click

from hauberk.cli import invocation
from hauberk.cli.failure import Exit, Failure
from hauberk.cli.plain import printable
from hauberk.kit.places import Places, PlaceUnusable
from hauberk.kit.unix_http import NotReachable, RequestFailed, RequestTimedOut, UnixHttp

Document = dict[str, Any]
MERGE_PATCH = {"content-type": "application/merge-patch+json"}
_GONE_NOW = "the {part} did not answer; if it has just died it is being restarted: try again, or look at `hauberk status`"


@dataclass(frozen=True)
class Mesh:
    """The mesh a command was asked about."""

    places: Places

    @cached_property
    def _api(self) -> UnixHttp:
        return UnixHttp(self.places.api_socket)

    @cached_property
    def _agent(self) -> UnixHttp:
        return UnixHttp(self.places.agent_socket)

    def api(
        self, method: str, path: str, body: Any = None, *, timeout: float | None = 30.0, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The control plane's answer; Failure if it refuses, is not there or takes too long."""
        status, answer = self.api_answer(method, path, body, timeout=timeout, headers=headers)
        if status >= 400:
            raise refused(status, answer)
        return answer

    def api_answer(
        self, method: str, path: str, body: Any = None, *, timeout: float | None = 30.0, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body of the control plane's answer, whatever the status."""
        try:
            return self._api.request(method, path, json=body, timeout=timeout, headers=headers)
        except NotReachable as error:
            raise self._unreachable(error, "control plane") from error

    def agent(self, method: str, path: str) -> Any:
        """The agent's answer."""
        status, answer = self.agent_answer(method, path)
        if status >= 400:
            raise refused(status, answer)
        return answer

    def agent_answer(self, method: str, path: str) -> tuple[int, Any]:
        """Status and body of the agent's answer, whatever the status."""
        try:
            return self._agent.request(method, path)
        except NotReachable as error:
            raise self._unreachable(error, "agent") from error

    def api_lines(self, path: str) -> Iterator[Document]:
        """The JSON lines of a watch, as they come."""
        return self._lines(self._api, "control plane", path)

    def agent_lines(self, path: str) -> Iterator[str]:
        """The lines of a stream from the agent, as they come."""
        return self._text_lines(self._agent, "agent", path)

    def _lines(self, client: UnixHttp, part: str, path: str) -> Iterator[Document]:
        for line in self._text_lines(client, part, path):
            if line.strip():
                yield json.loads(line)

    def _text_lines(self, client: UnixHttp, part: str, path: str) -> Iterator[str]:
        try:
            yield from client.stream_lines(path)
        except RequestFailed as error:
            raise refused(error.status, error.body) from error
        except NotReachable as error:
            raise self._unreachable(error, part) from error

    def _unreachable(self, error: NotReachable, part: str) -> Failure:
        name = self.places.mesh
        if isinstance(error, RequestTimedOut):
            return Failure(f"the {part} of mesh {name!r} did not answer in time", error.reason, "try again", Exit.TIMED_OUT)
        if isinstance(error.__cause__, PermissionError):
            what, why = f"the mesh {name!r} in {self.places.run} belongs to another user", error.reason
            return Failure(what, why, "run the command as that user, or start a mesh of your own", Exit.UNREACHABLE)
        if os.path.exists(self.places.init_socket):  # noqa: PTH110 - false, and no exception, where looking is forbidden
            return Failure(f"the {part} of mesh {name!r} is not reachable", str(error), _GONE_NOW.format(part=part), Exit.UNREACHABLE)
        return not_running(self.places)


def not_running(places: Places) -> Failure:
    """There is no such mesh for this user."""
    other = "" if places.mesh == invocation.DEFAULT_MESH else f" --mesh {places.mesh}"
    return Failure(
        f"the mesh {places.mesh!r} is not running",
        f"nothing listens in {places.run}",
        f"start it with `hauberk up --detach --wait{other}` (a mesh belongs to the user who started it)",
        Exit.UNREACHABLE,
    )


def places(name: str | None = None) -> Places:
    """The places of the mesh this command is about."""
    try:
        return Places(name or invocation.current().mesh)
    except PlaceUnusable as error:
        raise Failure(str(error), "", error.hint, Exit.USAGE) from error


def mesh() -> Mesh:
    """The mesh this command is about; nothing is sent yet."""
    return Mesh(places())


def object_path(plural: str, namespace: str | None, name: str, **query: str) -> str:
    """Where one object is in the API; cluster-scoped kinds have the namespace `-`."""
    return "/v1/objects/" + "/".join(quote(part, safe="") for part in (plural, namespace or "-", name)) + _query(query)


def list_path(plural: str, **query: str | None) -> str:
    """Where the objects of a kind are in the API."""
    return f"/v1/objects/{quote(plural, safe='')}" + _query({name: value for name, value in query.items() if value})


def _query(fields: Mapping[str, str]) -> str:
    return "?" + urlencode(fields) if fields else ""


def refused(status: int, answer: Any) -> Failure:
    """What an error answer says, as a failure of the command."""
    problems = problems_of(answer)
    if not problems:
        said = answer if isinstance(answer, str) else json.dumps(answer)
        return Failure(f"the mesh refused the request (status {status})", said or "", "run it again with -v, or look at its logs")
    errors = [problem for problem in problems if problem.get("severity") == "error"] or problems
    first, rest = errors[0], errors[1:]
    why = "; ".join(str(problem.get("message", "")) for problem in rest)
    code = Exit.TIMED_OUT if status == 504 else Exit.FAILED
    where, message = located(first), str(first.get("message"))
    # What names the object itself needs no lead: "Pod/default/x: there is no Pod/default/x".
    return Failure(message if where in message else f"{where}: {message}", why, str(first.get("remedy") or ""), code)


def problems_of(answer: Any) -> list[Document]:
    """The problems in an answer, if it holds any."""
    found = answer.get("problems") if isinstance(answer, dict) else None
    return [problem for problem in found if isinstance(problem, dict)] if isinstance(found, list) else []


def located(problem: Mapping[str, Any]) -> str:
    """`file:line:column`, as much of it as is known."""
    parts = [problem.get("file"), problem.get("line"), problem.get("column")]
    if not parts[0]:
        return str(problem.get("object") or "")
    return ":".join(str(part) for part in parts if part)


def tell_problems(problems: Sequence[Mapping[str, Any]], *, least: str = "info") -> None:
    """Every problem on stderr: where and what, which field, what to do."""
    order = ("info", "warning", "error")
    invoked = invocation.current()
    floor = max(order.index(least), 2 if invoked.quiet else 0)
    colors = invoked.colors(sys.stderr)
    for problem in problems:
        severity = str(problem.get("severity", "error"))
        if order.index(severity) >= floor:
            for line in problem_lines(problem, colors=colors):
                click.echo(line, err=True)


def problem_lines(problem: Mapping[str, Any], *, colors: bool = False) -> Iterator[str]:
    """One problem as people read it."""
    severity = str(problem.get("severity", "error"))
    tint = {"error": "red", "warning": "yellow"}.get(severity, "cyan")
    head = click.style(severity, fg=tint, bold=True) if colors else severity
    where, message = printable(located(problem)), printable(str(problem.get("message", "")))
    yield f"{head}: {where}: {message}" if where else f"{head}: {message}"
    field = printable(", ".join(str(problem[key]) for key in ("object", "path") if problem.get(key)))
    code = f" [{problem['code']}]" if problem.get("code") else ""
    if field or code:
        yield f"  why: {field}{code}" if field else f"  why:{code}"
    if problem.get("remedy"):
        yield f"   do: {problem['remedy']}"
