"""Hauberk: a service mesh that installs with one Python package."""

__version__ = "0.1.0"
