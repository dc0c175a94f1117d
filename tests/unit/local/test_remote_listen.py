"""Where the control plane listens for other machines, and where they find it."""

from __future__ import annotations

import platform

import pytest

from hauberk.local.remote_listen import ADVERTISE_VARIABLE, LISTEN_VARIABLE, Listen, ListenInvalid, format_address, parse_address


@pytest.mark.parametrize("text", ["10.0.0.1:7443", "[::1]:1", "mesh.example:65535"])
def test_an_address_is_read_as_it_is_written(text: str) -> None:
    assert format_address(parse_address(text, "x")) == text


@pytest.mark.parametrize(
    "text", ["", "7443", ":7443", "host", "host:", "host:0", "host:65536", "host:٣", "::1:7443", "[::1]", "[host]:1", "h:-1"]
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ListenInvalid, match="HOST:PORT"):
        parse_address(text, "HAUBERK_LISTEN")


def test_nobody_is_served_unless_told() -> None:
    assert Listen.read({}) is None


def test_machines_find_it_where_it_listens_or_where_it_says() -> None:
    listen = Listen.read({LISTEN_VARIABLE: "10.0.0.1:7443"})
    assert listen is not None
    assert listen.advertised == (("10.0.0.1", 7443),)
    told = Listen.read({LISTEN_VARIABLE: "0.0.0.0:7443", ADVERTISE_VARIABLE: "mesh.example:443, 10.0.0.1:7443"})
    assert told is not None
    assert told.advertised == (("mesh.example", 443), ("10.0.0.1", 7443))
    everywhere = Listen.read({LISTEN_VARIABLE: "[::]:7443"})
    assert everywhere is not None
    assert everywhere.advertised == ((platform.node(), 7443),)
