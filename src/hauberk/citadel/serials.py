"""Serial numbers: 128 bits of chance, so that none repeats, whatever a restored backup has forgotten."""

import secrets

from hauberk.identity.template import SERIAL_BITS


def next_serial() -> int:
    """A new one. Its highest bit is always set, so that all have the same length."""
    return secrets.randbits(SERIAL_BITS - 1) | 1 << (SERIAL_BITS - 1)


def serial_text(serial: int) -> str:
    """`serial` as people see it: 32 hexadecimal digits."""
    return f"{serial:032x}"
