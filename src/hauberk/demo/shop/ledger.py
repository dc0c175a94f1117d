"""A book of charges behind a TCP port with a protocol of its own: it greets, then numbers every line it is told."""

import itertools
import socketserver
import sys

NUMBERS = itertools.count(1)


class Book(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Greet, then answer each line with its number."""
        self.wfile.write(b"ledger ready\n")
        for line in self.rfile:
            sys.stdout.write(f"entry {line.decode('utf-8', 'replace').strip()}\n")
            sys.stdout.flush()
            self.wfile.write(f"entry {next(NUMBERS)}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True


Server(("0.0.0.0", 9000), Book).serve_forever()
