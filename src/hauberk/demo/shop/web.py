"""What the shop's programs have in common: answering and calling HTTP with JSON. Plain standard library, nothing of a mesh."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Passed from a request to the calls made for it, as any traced program does.
FORWARDED = ("x-request-id", "traceparent", "tracestate")
Answer = tuple[int, Any]
Route = Callable[["Request"], Answer]


class Request:
    """One request, read completely."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.method = handler.command
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(self.headers.get("content-length", "0") or "0"))

    def call(self, url: str, method: str = "GET", body: Any = None) -> Answer:
        """Call another service for this request."""
        return call(url, method, body, {name: self.headers[name] for name in FORWARDED if name in self.headers})


def call(url: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """Status and JSON of an HTTP call; 599 if nobody answered."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers={"content-type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        return 599, str(error)


def echo(request: Request) -> Answer:
    """The request as the program saw it."""
    return 200, {
        "method": request.method,
        "path": request.path,
        "headers": request.headers,
        "body": request.body.decode("utf-8", "replace"),
    }


def serve(routes: dict[str, Route]) -> None:
    """Answer requests by the first part of their path until the program is ended."""
    table: dict[str, Route] = {"echo": echo, "healthz": lambda _: (200, "ok"), **routes}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # head and body leave together: sent apart, the second would wait for the first one's acknowledgement

        def answer(self) -> None:
            request = Request(self)
            name = request.path.partition("?")[0].strip("/").partition("/")[0]
            route = table.get(name)
            status, found = route(request) if route else (404, f"no {name!r} here")
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, format: str, *values: Any) -> None:
            sys.stdout.write(format % values + "\n")
            sys.stdout.flush()

    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
