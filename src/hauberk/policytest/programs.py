"""The programs of a live test: one that answers whatever comes, and one that calls. Both need nothing but Python."""

from __future__ import annotations

from typing import Final

# Listens on the ports of its arguments. Who sends a request of HTTP gets 200, who sends anything else gets it back.
ANSWERING: Final = """
import re, socket, sys, threading
REQUEST = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+ [^ ]+ HTTP/1\\.[01]\\r\\n")
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok"
def serve(line):
    with line:
        seen = b""
        while piece := line.recv(65536):
            seen += piece
            if REQUEST.match(seen):
                while b"\\r\\n\\r\\n" in seen:
                    seen = seen.split(b"\\r\\n\\r\\n", 1)[1]
                    line.sendall(ANSWER)
            elif b"\\n" in seen:
                line.sendall(seen)
                seen = b""
def listen(port):
    with socket.create_server(("", port), backlog=64) as server:
        while True:
            line, _ = server.accept()
            threading.Thread(target=quietly, args=(line,), daemon=True).start()
def quietly(line):
    try:
        serve(line)
    except OSError:
        pass
for port in sys.argv[2:]:
    threading.Thread(target=listen, args=(int(port),), daemon=True).start()
listen(int(sys.argv[1]))
"""

# Reads a list of calls, makes them one after the other, and prints what came of each: a status, or why there was no answer.
CALLING: Final = """
import base64, json, socket, sys
from http.client import HTTPException, HTTPResponse
def call(ask):
    sent = base64.b64decode(ask["bytes"])
    with socket.create_connection((ask["host"], ask["port"]), timeout=ask["timeout"]) as line:
        line.sendall(sent)
        if not ask["http"]:
            return {"status": None, "said": "answered"} if line.recv(1) else {"said": "the connection was closed"}
        answer = HTTPResponse(line)
        answer.begin()
        return {"status": answer.status, "said": str(answer.status)}
for ask in json.load(sys.stdin):
    try:
        told = call(ask)
    except (OSError, HTTPException) as error:
        told = {"said": "the connection was closed" if isinstance(error, (ConnectionError, HTTPException)) else f"no answer: {error}"}
        told["error"] = type(error).__name__
    print(json.dumps(told), flush=True)
"""
