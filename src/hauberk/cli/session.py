"""Sessions with a pod through the agent: a command run inside it, a connection to its program. Descriptors travel, bytes do not."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from hauberk.cli.connection import not_running
from hauberk.cli.failure import Exit, Failure
from hauberk.kit.places import Places

_LARGEST = 256 * 1024  # bytes of one message


def ask(places: Places, message: dict[str, Any], descriptors: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
    """Send one message with descriptors and wait for the answer with its own; Failure if the agent is not there or says no."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        try:
            line.connect(str(places.session_socket))
            socket.send_fds(line, [json.dumps(message).encode()], list(descriptors))
            data, received, _, _ = socket.recv_fds(line, _LARGEST, 4)
        except OSError as error:
            if isinstance(error, FileNotFoundError | ConnectionRefusedError) and not os.path.exists(places.init_socket):  # noqa: PTH110
                raise not_running(places) from error
            raise Failure(
                "the agent is not reachable", f"{places.session_socket}: {error.strerror}", "see `hauberk status`", Exit.UNREACHABLE
            ) from error
    if not data:
        raise Failure(
            "the agent ended in the middle of the session", "the connection was closed", "see its log, and try again", Exit.UNREACHABLE
        )
    answer: dict[str, Any] = json.loads(data)
    if "error" in answer:
        code = int(answer.get("exit", Exit.FAILED))
        raise Failure(str(answer["error"]), str(answer.get("why", "")), str(answer.get("remedy", "")), code)
    return answer, received


def dial(places: Places, namespace: str, pod: str, port: int) -> socket.socket:
    """A connection to the program of a pod, made inside the pod."""
    _, received = ask(places, {"op": "dial", "namespace": namespace, "pod": pod, "port": port})
    if len(received) != 1:
        raise Failure("the agent sent no connection", f"{len(received)} descriptors came", "see its log")
    connection = socket.socket(fileno=received[0])
    connection.setblocking(True)  # the agent made it for its event loop, and that travels with the descriptor
    return connection
