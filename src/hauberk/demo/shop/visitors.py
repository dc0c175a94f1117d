"""The people in the shop: they look around steadily, and now and then one buys."""

import os
import random
import time

from web import call

RATE = float(os.environ.get("RATE", "8"))  # visits a second

while True:
    call("http://frontend/")
    if random.random() < 0.25:
        call("http://frontend/buy", "POST", {})
    time.sleep(random.expovariate(RATE))
