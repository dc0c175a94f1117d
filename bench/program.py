"""The programs that the measurements run in pods."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PORT = 8080
BODY = "an answer of about a hundred bytes, which is what a small document of an interface weighs. And so on.\n"

# Starts as quickly as Python can: what is measured is the pod, not the import of a web server.
_SERVER = f"""
import socket, sys
answer = {BODY!r}.encode()
head = b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\nconnection: close\\r\\n\\r\\n" % len(answer)
with socket.create_server(("", {PORT})) as listening:
    while True:
        line, _ = listening.accept()
        with line:
            line.recv(65536)
            line.sendall(head + answer)
"""

# Asks again and again until it is served; prints when that was.
_CALLER = """
import socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
print("calling", flush=True)
while True:
    try:
        with socket.create_connection((host, port), 5) as line:
            line.sendall(b"GET / HTTP/1.1\\r\\nhost: %s\\r\\nconnection: close\\r\\n\\r\\n" % host.encode())
            if line.recv(4096).startswith(b"HTTP/1.1 200"):
                break
    except OSError:
        pass
    time.sleep(0.01)
print("served", time.time(), flush=True)
"""

# In one process and as whoever starts it, because a master needs rights that a program in a pod does not have.
_NGINX = """
user root; daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{ listen {port}; location / {{ return 200 "{body}"; }} }}
}}
"""


def server() -> list[str]:
    """A web server in a few lines of Python."""
    return [sys.executable, "-S", "-E", "-c", _SERVER]


def caller(host: str, port: int = PORT) -> list[str]:
    """Prints `calling`, and `served` with the time of the first good answer."""
    return [sys.executable, "-S", "-E", "-c", _CALLER, host, str(port)]


def nginx(directory: Path) -> list[str]:
    """A quick web server whose files lie in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(directory=directory, port=PORT, body=BODY.strip()))
    return [found("nginx"), "-e", str(directory / "error.log"), "-c", str(configuration)]


def found(name: str) -> str:
    """The path of an installed program; empty if it is absent. Debian keeps servers where users do not look."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin:/usr/local/go/bin") or ""
