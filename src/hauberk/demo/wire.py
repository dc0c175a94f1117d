"""Listening on the bridge that joins the pods: which handshakes pass, and whether a text passes in the clear."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from hauberk.demo.tls import Hello, parse_hello, tcp_payload
from hauberk.kit.places import Places
from hauberk.linux.failure import UnknownProcess
from hauberk.linux.launch import Launcher, ProcessSpec

_LONGEST_FRAME = 65536 + 64
_SOL_PACKET, _PACKET_STATISTICS = 263, 6  # of linux/if_packet.h
_PROCESS = "demo/capture"
_ATTEMPTS = 5


@dataclass
class Heard:
    """What was seen on the wire so far."""

    frames: int = 0
    lost: int = 0
    hellos: Counter[Hello] = field(default_factory=Counter)
    in_clear: Counter[bytes] = field(default_factory=Counter)


class Capture:
    """Every frame of the bridge, searched for texts as it passes."""

    def __init__(self, packets: socket.socket, texts: Sequence[bytes]) -> None:
        self._packets = packets
        self._texts = tuple(texts)
        self._heard = Heard()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="capture", daemon=True)
        packets.settimeout(0.2)
        self._thread.start()

    def end(self) -> Heard:
        """What was heard from the start until the first call of this."""
        if not self._ending.is_set():
            self._ending.set()
            self._thread.join()
            _, self._heard.lost = struct.unpack("II", self._packets.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            self._packets.close()
        return self._heard

    def _listen(self) -> None:
        while True:
            try:
                self._note(self._packets.recv(_LONGEST_FRAME))
            except TimeoutError:
                if self._ending.is_set():
                    return  # nothing has come for a while: what was sent before the end has been seen

    def _note(self, frame: bytes) -> None:
        self._heard.frames += 1
        payload = tcp_payload(frame)
        if not payload:
            return
        hello = parse_hello(payload)
        if hello is not None:
            self._heard.hellos[hello] += 1
        for text in self._texts:
            if text in payload:
                self._heard.in_clear[text] += 1


@contextmanager
def capturing(places: Places, texts: Sequence[bytes]) -> Iterator[Capture]:
    """Listen on the node's interfaces while the body runs."""
    capture = Capture(asyncio.run(_packet_socket(places)), texts)
    try:
        yield capture
    finally:
        capture.end()


async def _packet_socket(places: Places) -> socket.socket:
    launcher = await Launcher.connect(places.init_socket)
    try:
        for _ in range(_ATTEMPTS):
            found = await _ask_helper(launcher)
            if found is not None:
                return found
    finally:
        launcher.close()
    raise OSError("cannot listen on the bridge: the helper ended without a socket")


async def _ask_helper(launcher: Launcher) -> socket.socket | None:
    """The socket that the helper opened; None if something ended it before it had."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            spec = ProcessSpec(
                argv=(sys.executable, "-P", "-m", "hauberk.demo.packet_socket"),
                network="node",
                capabilities=("NET_RAW",),
                env=dict(os.environ),
            )
            # An agent that is just starting ends whatever it does not know, this too: then it is asked again.
            with suppress(UnknownProcess):
                await launcher.run(_PROCESS, spec, (theirs.fileno(), theirs.fileno(), theirs.fileno()))
        _, received, _, _ = socket.recv_fds(ours, 16, 1)
    return socket.socket(fileno=received[0]) if received else None
