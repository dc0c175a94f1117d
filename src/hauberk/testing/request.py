"""A request made from inside a pod, by an ordinary program that knows nothing of the mesh."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from hauberk.testing.answer import Completed, ConnectionFailed, MeshFailed, Response

# Runs in the pod with the standard library only; prints one JSON document. The body travels by argument, so no stdin is needed.
_CALLER = """
import base64, http.client, json, sys
ask = json.loads(sys.argv[1])
line = http.client.HTTPConnection(ask["host"], ask["port"], timeout=ask["timeout"])
try:
    line.request(ask["method"], ask["path"], base64.b64decode(ask["body"]) or None, ask["headers"])
    answer = line.getresponse()
    body = answer.read()
except (OSError, http.client.HTTPException) as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
else:
    headers = {name.lower(): value for name, value in answer.getheaders()}
    print(json.dumps({"status": answer.status, "headers": headers, "body": base64.b64encode(body).decode()}))
"""


def caller_command(
    python: str, to: str, method: str, path: str, *, headers: Mapping[str, str], body: bytes, timeout: float
) -> tuple[str, ...]:
    """The command that makes the request; `to` is `host` or `host:port`."""
    host, _, port = to.partition(":")
    ask = {
        "host": host,
        "port": int(port or 80),
        "method": method,
        "path": path,
        "headers": dict(headers),
        "body": base64.b64encode(body).decode(),
        "timeout": timeout,
    }
    return (python, "-c", _CALLER, json.dumps(ask))


def read_response(to: str, done: Completed) -> Response:
    """The response that the command printed; ConnectionFailed if the program got none."""
    try:
        found = json.loads(done.check().stdout)
    except ValueError as error:
        raise MeshFailed(f"the caller printed no answer: {done.stdout!r} {done.stderr!r}") from error
    if "error" in found:
        raise ConnectionFailed(to, found["error"])
    return Response(found["status"], found["headers"], base64.b64decode(found["body"]))
