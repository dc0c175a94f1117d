"""Putting a ruleset into the network namespace of the calling thread, whole or not at all."""

import errno
import os
import socket
import struct
from typing import Final

from hauberk.interception.nftables import describe_step, encode_transaction
from hauberk.interception.ruleset import Ruleset

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK, _NETLINK_EXT_ACK = 270, 11
_ERROR: Final = 2
_HEADER: Final = 16


class InterceptionRefused(Exception):
    """The kernel would not take the rules; nothing of them is in force."""

    def __init__(self, code: int, step: str) -> None:
        hints = {
            errno.EPERM: "the namespace belongs to another user namespace, or CAP_NET_ADMIN is missing",
            errno.ENOENT: "the kernel lacks nf_tables NAT: load nft_chain_nat, nft_redir and nft_ct",
            errno.EOPNOTSUPP: "the kernel lacks nf_tables NAT: load nft_chain_nat, nft_redir and nft_ct",
            errno.EPROTONOSUPPORT: "the kernel lacks nf_tables: load nf_tables",
        }
        hint = hints.get(code, "see `hauberk check`")
        super().__init__(f"{os.strerror(code)} at {step}: {hint}")
        self.code = code


def install(ruleset: Ruleset) -> None:
    """The namespace of the calling thread has exactly these rules; what stood there before is replaced in the same instant."""
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as exc:
        raise InterceptionRefused(exc.errno or errno.EPROTONOSUPPORT, "opening the netfilter socket") from exc
    with netlink:
        netlink.bind((0, 0))
        netlink.settimeout(10)
        messages = encode_transaction(ruleset)
        netlink.send(b"".join(messages))
        # One answer for each message but the two edges of the batch; a refusal may end them early.
        _await_answers(netlink, ruleset, len(messages) - 2)


def _await_answers(netlink: socket.socket, ruleset: Ruleset, expected: int) -> None:
    seen = 0
    while seen < expected:
        datagram = netlink.recv(1 << 16)
        while len(datagram) >= _HEADER + 4:
            length, kind, _, sequence, _ = struct.unpack_from("=IHHII", datagram)
            (code,) = struct.unpack_from("=i", datagram, _HEADER)
            if kind == _ERROR and code:
                raise InterceptionRefused(-code, describe_step(ruleset, sequence))
            seen += 1
            datagram = datagram[(length + 3) & ~3 :]
