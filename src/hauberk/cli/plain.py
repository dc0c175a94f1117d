"""Text of others for people's terminals: a path, a label or a reason must not move the cursor, recolour the screen or begin a line."""

from __future__ import annotations

# Control characters (C0, DEL and C1, which holds a one-character CSI), line separators, and marks that reverse what is read.
_UNSAFE = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHOWN = {code: (rf"\x{code:02x}" if code < 0x100 else rf"\u{code:04x}") for code in _UNSAFE} | {
    ord("\t"): "\\t",
    ord("\n"): "\\n",
    ord("\r"): "\\r",
}


def printable(text: str) -> str:
    """The text on one line, with what a terminal would obey shown instead."""
    return text if text.isascii() and text.isprintable() else text.translate(_SHOWN)
