"""What holds for all unit tests."""

from hypothesis import settings

# How long an example takes says how busy the machine is; they run on all cores.
settings.register_profile("hauberk", deadline=None)
settings.load_profile("hauberk")
