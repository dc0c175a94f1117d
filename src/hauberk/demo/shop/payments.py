"""Takes money, and writes each charge into the ledger over a plain TCP connection."""

import json
import socket

from web import Answer, Request, serve


def charge(request: Request) -> Answer:
    """One charge, with the number the ledger gave it."""
    amount = json.loads(request.body or b"{}").get("amount", 0)
    try:
        with socket.create_connection(("ledger", 9000), timeout=5) as ledger, ledger.makefile("rw") as lines:
            lines.readline()  # the ledger speaks first
            lines.write(f"charge {amount}\n")
            lines.flush()
            return 200, {"charged": amount, "entry": lines.readline().strip()}
    except OSError as error:
        return 503, {"ledger": str(error)}


serve({"charge": charge})
