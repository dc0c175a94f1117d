"""Short, stable names for bytes: equal bytes have equal digests, in every process and on every machine."""

from __future__ import annotations

from hashlib import blake2b

DIGEST_BYTES = 16  # 128 bits: a collision among all resources of a mesh's life is out of the question


def digest(*parts: bytes) -> str:
    """Hexadecimal digest of `parts`; ("ab", "c") and ("a", "bc") differ."""
    if len(parts) == 1:
        return blake2b(parts[0], digest_size=DIGEST_BYTES).hexdigest()
    state = blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()


def short_digest(text: str, length: int = 10) -> str:
    """The first `length` hexadecimal digits for names that people read, such as a Deployment's pod-template-hash."""
    return digest(text.encode())[:length]
