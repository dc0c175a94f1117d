"""Addresses and blocks of addresses, as `ipBlocks` and conditions about addresses write them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network


def parse_block(text: str) -> IPv4Network | IPv6Network:
    """The block; a single address is a block of one. ValueError if `text` is none. Bits beyond the prefix do not count."""
    prefix = text.partition("/")[2]
    # Python also knows netmasks, names of zones, and digits of other scripts, which Envoy does not.
    if not text.isascii() or "%" in text or ("/" in text and not prefix.isdigit()):
        raise ValueError(f"{text!r} is no address and no block of addresses")
    return ip_network(text, strict=False)


def has_bits_beyond(text: str) -> bool:
    """The block's address is one inside it (`10.1.2.3/8`), which reads as if only that one were meant."""
    interface = ip_interface(text)
    return "/" in text and interface.ip != interface.network.network_address
