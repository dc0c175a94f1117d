"""What holds for all unit tests."""

import os

from hypothesis import settings

# How long an example takes says how busy the machine is; they run on all cores. Where nobody looks on, examples are always the same: what
# chance finds is found at a desk, and stops nobody's change.
settings.register_profile("hauberk", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("hauberk")
