"""Messages and descriptors arrive together, whole, or not at all."""

import os
import socket
from collections.abc import Iterator

import pytest

from hauberk.linux.packet import LARGEST_PACKET, PacketMalformed, receive_packet, send_packet


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield left, right


def test_messages_arrive_one_by_one(ends: tuple[socket.socket, socket.socket]) -> None:
    for number in range(3):
        send_packet(ends[0], {"id": number})
    assert [receive_packet(ends[1]) for _ in range(3)] == [({"id": number}, []) for number in range(3)]


def test_a_descriptor_arrives_closed_on_exec_and_is_the_same_file(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = os.pipe()
    send_packet(ends[0], {}, (theirs,))
    packet = receive_packet(ends[1])
    assert packet is not None
    (received,) = packet[1]
    assert not os.get_inheritable(received)
    os.write(received, b"x")
    assert os.read(ours, 1) == b"x"
    for descriptor in (ours, theirs, received):
        os.close(descriptor)


def test_a_message_of_any_size_arrives(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = os.pipe()
    message = {"text": "ü" * LARGEST_PACKET}
    send_packet(ends[0], message, (theirs,))
    packet = receive_packet(ends[1])
    assert packet is not None
    assert packet[0] == message
    assert len(packet[1]) == 1
    for descriptor in (ours, theirs, *packet[1]):
        os.close(descriptor)


def test_the_end_of_the_other_side_is_seen(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].close()
    assert receive_packet(ends[1]) is None


@pytest.mark.parametrize("noise", [b"{", b"[1]", b"\xff\xfe", b"x" * (LARGEST_PACKET + 2000)])
def test_noise_is_refused(ends: tuple[socket.socket, socket.socket], noise: bytes) -> None:
    ends[0].send(noise)
    with pytest.raises(PacketMalformed):
        receive_packet(ends[1])
