"""Signals a process has a handler for, and ports it listens on, from the kernel's tables."""

import os
import signal
import socket

from hauberk.agent.listening import listening_ports, read_listening
from hauberk.agent.signals import catches, hears


def test_a_handler_is_seen_in_the_mask() -> None:
    assert catches("Name:\tx\nSigCgt:\t0000000000004000\n", 15)
    assert not catches("SigCgt:\t0000000000004000\n", 14)


def test_our_own_handler_is_seen() -> None:
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        assert hears(os.getpid(), signal.SIGUSR2)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        assert not hears(os.getpid(), signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_only_listening_sockets_count() -> None:
    table = "  sl  local_address rem_address   st\n   0: 00000000:1F90 00000000:0000 0A 0\n   1: 0100007F:0050 0200007F:1234 01 0\n"
    assert read_listening(table) == {8080}


def test_a_listening_port_of_ours_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] in listening_ports(os.getpid())


def test_a_process_that_is_gone_listens_nowhere() -> None:
    assert listening_ports(2**22 + 1) == frozenset()
