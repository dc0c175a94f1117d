"""Messages of the launcher's socket: one JSON document a packet, file descriptors beside it.

A document too large for one packet (a long command line, a large environment) travels in a memory file whose descriptor comes last.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any

LARGEST_PACKET = 64 * 1024  # bytes; far below the smallest socket buffer a distribution sets
MOST_DESCRIPTORS = 16
_HEADROOM = 1024


class PacketMalformed(Exception):
    """The other end sent something that is no message."""


def send_packet(sock: socket.socket, document: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
    """The message is in the socket's buffer; BlockingIOError if there is no room for it now."""
    text = json.dumps(document, separators=(",", ":")).encode()
    if len(text) <= LARGEST_PACKET:
        _send(sock, text, descriptors)
        return
    file = os.memfd_create("hauberk-message", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(file), "wb") as stream:
            stream.write(text)
        _send(sock, b'{"elsewhere":true}', (*descriptors, file))
    finally:
        os.close(file)


def receive_packet(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors (close-on-exec, owned by the caller); None when the other end has closed."""
    space = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
    text, ancillary, flags, _ = sock.recvmsg(LARGEST_PACKET + _HEADROOM, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = _descriptors(ancillary)
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise PacketMalformed("a packet larger than any message")  # noqa: TRY301 - the descriptors must be closed
        if not text and not descriptors:
            return None
        document = _parse(text)
        if document.get("elsewhere") is True and descriptors:
            with os.fdopen(descriptors.pop(), "rb") as stream:
                stream.seek(0)
                document = _parse(stream.read())
    except BaseException:
        close_all(descriptors)
        raise
    return document, descriptors


def close_all(descriptors: list[int] | tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _send(sock: socket.socket, text: bytes, descriptors: tuple[int, ...]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sock.sendmsg([text], ancillary, socket.MSG_NOSIGNAL)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return list(found)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PacketMalformed("a packet that is not JSON") from error
    if not isinstance(document, dict):
        raise PacketMalformed("a packet that is not a JSON object")
    return document
