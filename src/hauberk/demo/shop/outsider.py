"""A program beside the mesh, without an identity: it tries the catalogue, and gets no answer."""

import sys
import time

from web import call

while True:
    status, text = call("http://catalog-pods:8080/items")
    sys.stdout.write(f"the catalogue answered {status}: {text}\n")
    sys.stdout.flush()
    time.sleep(4)
