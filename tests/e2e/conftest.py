"""For all end-to-end tests."""

from __future__ import annotations

import signal

# A run in the background of a script is started with SIGINT ignored, and hands that down to the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
