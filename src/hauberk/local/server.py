"""The launcher's socket: who may connect, what they may ask, and the answers."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hauberk.linux import networks, start
from hauberk.linux.failure import LauncherRefused, LinuxFailure, ProgramNotStarted, UnknownNetwork, encode_failure
from hauberk.linux.packet import PacketMalformed, close_all, receive_packet, send_packet
from hauberk.linux.process import decode_spec, encode_process
from hauberk.local.loop import READABLE, WRITABLE, Loop, lost

if TYPE_CHECKING:
    from hauberk.linux.process import ProcessSpec
    from hauberk.linux.start import Ground
    from hauberk.local.children import Children

OWN_PREFIX: Final = "mesh/"  # names of the mesh's own processes; clients can neither see nor take them
_STDIO: Final = 3
_MOST_UNSENT: Final = 10_000  # answers that wait for a client to read; one that never reads is let go

_Reply = Callable[..., None]


class Connection:
    """One client; answers it cannot take at once wait."""

    def __init__(self, sock: socket.socket, loop: Loop, on_request: Callable[[Connection, dict[str, Any], list[int]], None]) -> None:
        self._socket = sock
        self._loop = loop
        self._on_request = on_request
        self._unsent: deque[tuple[dict[str, Any], tuple[int, ...]]] = deque()
        loop.watch(sock.fileno(), READABLE, self._on_event)

    def send(self, document: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """The message is on its way; the descriptors are duplicated if it has to wait. Nothing happens if the client is gone."""
        if self._socket.fileno() < 0:
            return
        if not self._unsent and self._sent(document, descriptors):
            return
        if self._socket.fileno() >= 0:
            self._unsent.append((document, tuple(os.dup(descriptor) for descriptor in descriptors)))
            self._loop.watch(self._socket.fileno(), READABLE | WRITABLE, self._on_event)
            if len(self._unsent) > _MOST_UNSENT:
                self.close()

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        for _, descriptors in self._unsent:
            close_all(descriptors)
        self._unsent.clear()

    def _sent(self, document: dict[str, Any], descriptors: tuple[int, ...]) -> bool:
        try:
            send_packet(self._socket, document, descriptors)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
        return True

    def _on_event(self, events: int) -> None:
        if events & WRITABLE:
            while self._unsent and self._sent(*self._unsent[0]):
                if self._unsent:
                    close_all(self._unsent.popleft()[1])
            if self._socket.fileno() >= 0 and not self._unsent:
                self._loop.watch(self._socket.fileno(), READABLE, self._on_event)
        if events & READABLE or lost(events):
            self._read()

    def _read(self) -> None:
        try:
            while self._socket.fileno() >= 0:
                packet = receive_packet(self._socket)
                if packet is None:
                    break
                self._on_request(self, *packet)
            self.close()
        except BlockingIOError:
            return
        except (OSError, PacketMalformed):
            self.close()


class Server:
    """Answers the agent, which creates pods, and the commands `up` and `down`, which ask how the mesh is and end it."""

    def __init__(
        self, loop: Loop, ground: Ground, children: Children, *, describe: Callable[[], dict[str, Any]], stop: Callable[[float], None]
    ) -> None:
        self._loop = loop
        self._ground = ground
        self._children = children
        self._describe = describe
        self._stop = stop
        self._networks: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._operations: dict[str, Callable[[dict[str, Any], list[int], _Reply], None]] = {
            "create-network": self._create_network,
            "network": self._network,
            "delete-network": self._delete_network,
            "networks": lambda request, descriptors, reply: reply(names=list(self._networks)),
            "spawn": self._spawn,
            "signal": self._signal,
            "processes": self._processes,
            "forget": self._forget,
            "abandon": self._abandon,
            "wait": self._wait,
            "keep-socket": self._keep_socket,
            "kept-socket": self._kept_socket,
            "drop-socket": self._drop_socket,
            "info": lambda request, descriptors, reply: reply(**self._describe()),
            "stop": self._accept_stop,
        }

    def listen(self, path: str) -> None:
        """Clients can connect at `path`."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.setblocking(False)
        listener.bind(path)
        listener.listen(64)
        self._loop.watch(listener.fileno(), READABLE, lambda _: self._accept(listener))

    def keep(self, name: str, descriptor: int) -> None:
        """A socket of the mesh's own is among those that clients can take."""
        self._kept[name] = descriptor

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return  # the client has gone again, or there is no descriptor left: the next event tries anew
        sock.setblocking(False)
        connection = Connection(sock, self._loop, self._on_request)
        if not self._permitted(sock):
            refusal = LauncherRefused("only the mesh's own agent and the user who started it may use the launcher")
            connection.send({"id": 0, "failure": encode_failure(refusal)})
            connection.close()

    def _permitted(self, sock: socket.socket) -> bool:
        pid, uid, _ = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            return False
        # Rootless, an Envoy has the same user id as the mesh. Of the processes in our PID namespace only our own may come in;
        # one outside of it has no pid here.
        child = self._children.with_pid(pid)
        return pid == 0 or (child is not None and child.name.startswith(OWN_PREFIX))

    def _on_request(self, connection: Connection, request: dict[str, Any], descriptors: list[int]) -> None:
        def reply(*given: int, **document: Any) -> None:
            connection.send({"id": request.get("id", 0), **document}, given)

        try:
            operation = self._operations.get(str(request.get("op")))
            if operation is None:
                raise LauncherRefused(
                    f"the launcher knows no {request.get('op')!r}", "the mesh runs another version: `hauberk down`, then `up`"
                )
            operation(request, descriptors, reply)
        except LinuxFailure as failure:
            reply(failure=encode_failure(failure))
        except (KeyError, TypeError, ValueError, OSError) as error:
            reply(failure=encode_failure(LauncherRefused(f"the request cannot be carried out: {type(error).__name__}: {error}")))
        finally:
            close_all(descriptors)

    def _create_network(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        name = _name(request)
        if name not in self._networks:
            self._networks[name] = networks.create_network()
        reply(self._networks[name])

    def _network(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        reply(self._find_network(_name(request)))

    def _delete_network(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        if (descriptor := self._networks.pop(_name(request), None)) is not None:
            os.close(descriptor)
        reply()

    def _find_network(self, name: str) -> int:
        if name not in self._networks:
            raise UnknownNetwork(f"there is no network {name!r}")
        return self._networks[name]

    def _spawn(self, request: dict[str, Any], descriptors: list[int], reply: _Reply) -> None:
        name = _name(request)
        expected = _STDIO + (1 if request["spec"].get("executable") else 0)
        if len(descriptors) != expected:
            raise LauncherRefused(f"{expected} descriptors belong to this request, {len(descriptors)} came")
        spec = decode_spec(request["spec"], descriptors[_STDIO] if expected > _STDIO else None)
        if not spec.argv or not all(isinstance(word, str) and "\0" not in word for word in spec.argv):
            raise LauncherRefused("a program needs at least its name, without NUL characters")
        stdio = (descriptors[0], descriptors[1], descriptors[2])

        def on_started(failure: ProgramNotStarted | None) -> None:
            if failure is not None:
                reply(failure=encode_failure(failure))
            else:
                reply(process=encode_process(child.process()))

        plan, doors = self._decide(spec, stdio)
        child = self._children.spawn(name, plan, doors, on_started)

    def _decide(self, spec: ProcessSpec, stdio: tuple[int, int, int]) -> tuple[start.Plan, start.Doors]:
        if spec.join is not None:
            target = self._children.find_running(spec.join)
            if target.plan.spec.container is None:
                raise LauncherRefused(f"{spec.join!r} is no container")
            return start.plan_to_join(spec, target.plan), start.Doors(stdio=stdio, container=target.pidfd)
        network = None if spec.network is None else self._find_network(spec.network)
        return start.plan(spec, self._ground), start.Doors(stdio=stdio, network=network)

    def _signal(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        self._children.signal(self._children.find_running(_name(request)), signal.Signals(request["number"]))
        reply()

    def _processes(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        prefix = str(request.get("prefix", ""))
        named = (child for child in self._children.all() if child.name.startswith(prefix))
        listed = [child.process() for child in named if not child.name.startswith(OWN_PREFIX)]
        reply(processes=[encode_process(process) for process in listed])

    def _forget(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        self._children.forget(_name(request))
        reply()

    def _abandon(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        self._children.abandon(_name(request))
        reply()

    def _wait(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        child = self._children.find(_name(request))
        if child.wait_status is not None:
            reply(status=child.wait_status)
        else:
            child.waiters.append(lambda status: reply(status=status))

    def _keep_socket(self, request: dict[str, Any], descriptors: list[int], reply: _Reply) -> None:
        if len(descriptors) != 1:
            raise LauncherRefused("exactly one descriptor belongs to this request")
        self._let_go(_name(request))
        self._kept[_name(request)] = descriptors.pop()
        reply()

    def _kept_socket(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        kept = self._kept.get(_name(request))
        reply(*(() if kept is None else (kept,)))

    def _drop_socket(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        self._let_go(_name(request))
        reply()

    def _let_go(self, name: str) -> None:
        if (descriptor := self._kept.pop(name, None)) is not None:
            os.close(descriptor)

    def _accept_stop(self, request: dict[str, Any], _: list[int], reply: _Reply) -> None:
        reply(stopping=True)
        self._stop(float(request.get("timeout", 60.0)))


def _name(request: dict[str, Any]) -> str:
    name = request["name"]
    if not isinstance(name, str) or not name or name.startswith(OWN_PREFIX):
        raise LauncherRefused(f"{name!r} is no name for a process or network")
    return name
