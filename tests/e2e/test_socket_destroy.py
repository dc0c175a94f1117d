"""Connections end from outside of the programs that hold them, in one network and in no other."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hauberk.linux.netns import in_network
from hauberk.linux.networks import create_network
from hauberk.linux.socket_destroy import Connection, can_destroy, destroy_connections

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it makes network namespaces itself; without root the mesh's tests prove it")

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def network() -> Iterator[int]:
    made = create_network()
    yield made
    os.close(made)


def connected(network: int, family: socket.AddressFamily, host: str, called: str = "") -> Pair:
    """Both ends of a connection within `network`."""

    def connect() -> Pair:
        with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listener:
            calling = socket.create_connection((called or host, listener.getsockname()[1]), timeout=5)
            return calling, listener.accept()[0]

    return in_network(network, connect)


@contextmanager
def ended(pair: Pair) -> Iterator[None]:
    with pair[0], pair[1]:
        yield
        for end in pair:
            with pytest.raises(OSError):
                end.recv(1)


@contextmanager
def living(pair: Pair) -> Iterator[None]:
    with pair[0], pair[1]:
        yield
        pair[0].sendall(b"x")
        assert pair[1].recv(1) == b"x"


def test_this_kernel_can_end_connections(network: int) -> None:
    assert in_network(network, can_destroy)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_what_is_condemned_ends_at_both_ends_and_nothing_else(network: int, family: socket.AddressFamily, host: str) -> None:
    one, other = connected(network, family, host), connected(network, family, host)
    port = one[0].getsockname()[1]
    with ended(one), living(other):
        assert in_network(network, lambda: destroy_connections(lambda each: each.local_port == port)) == 1


def test_an_ipv4_peer_of_an_ipv6_socket_is_known_by_its_ipv4_address(network: int) -> None:
    with connected(network, socket.AF_INET6, "::", "127.0.0.1")[0]:
        seen: list[Connection] = []

        def look(each: Connection) -> bool:
            seen.append(each)
            return False

        assert in_network(network, lambda: destroy_connections(look)) == 0
        assert {each.remote for each in seen} == {each.local for each in seen} == {"127.0.0.1"}


def test_connections_of_another_network_are_not_seen(network: int) -> None:
    other = create_network()
    try:
        with living(connected(network, socket.AF_INET, "127.0.0.1")):
            assert in_network(other, lambda: destroy_connections(lambda _: True)) == 0
    finally:
        os.close(other)


def test_a_listener_has_no_peer_and_lives(network: int) -> None:
    with in_network(network, lambda: socket.create_server(("127.0.0.1", 0))) as listener:
        assert in_network(network, lambda: destroy_connections(lambda _: True)) == 0
        with in_network(network, lambda: socket.create_connection(listener.getsockname(), timeout=5)):
            pass


def test_thousands_are_looked_through(network: int) -> None:
    def connect() -> list[socket.socket]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        return [listener, *(socket.create_connection(listener.getsockname(), timeout=5) for _ in range(400))]

    held = in_network(network, connect)
    ports = {each.getsockname()[1] for each in held[1::2]}
    assert in_network(network, lambda: destroy_connections(lambda each: each.local_port in ports)) == len(ports)
    for each in held:
        each.close()
