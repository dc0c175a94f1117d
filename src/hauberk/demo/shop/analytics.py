"""Somebody's report generator: reads the catalogue, and also asks the payments and the ledger, which is none of its business."""

import socket
import sys
import time

from web import call

while True:
    call("http://catalog/items")
    status, _ = call("http://payments/charge", "POST", {"amount": 1})
    try:
        with socket.create_connection(("ledger", 9000), timeout=5) as ledger:
            greeting = ledger.recv(100)
    except OSError:
        greeting = b""
    sys.stdout.write(f"payments answered {status}, the ledger said {greeting!r}\n")
    sys.stdout.flush()
    time.sleep(2)
