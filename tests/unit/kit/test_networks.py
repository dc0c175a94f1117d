"""Addresses that are asked for nobody's sake."""

from ipaddress import ip_network

import pytest

from hauberk.kit.networks import InvalidNetwork, Reach, is_allowed, read_networks


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "fd00:ec2::254", "100.100.100.200"),
        *("224.0.0.1", "ff02::1", "255.255.255.255", "192.0.0.192", "240.0.0.1", "nonsense", ""),
    ],
)
def test_local_and_special_addresses_are_not_asked(address: str) -> None:
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.1.1", "93.184.216.34", "2001:db8::1", "fd00::1", "::ffff:10.1.2.3"])
def test_addresses_of_other_machines_are_asked(address: str) -> None:
    assert is_allowed(address, ())


def test_an_allowed_network_is_asked_and_its_neighbours_are_not() -> None:
    allowed = read_networks("127.0.0.0/30, fe80::/10", "X")
    assert allowed == (ip_network("127.0.0.0/30"), ip_network("fe80::/10"))
    assert [is_allowed(each, allowed) for each in ("127.0.0.1", "fe80::9%lo", "::ffff:127.0.0.1", "127.0.1.1", "::1")] == [
        *(True, True, True),
        *(False, False),
    ]
    assert read_networks("", "X") == ()


@pytest.mark.parametrize("text", ["here", "10.0.0.1/8", "10.0.0.0/99"])
def test_what_is_no_network_is_refused_by_the_name_of_its_setting(text: str) -> None:
    with pytest.raises(InvalidNetwork, match="HAUBERK_X="):
        read_networks(text, "HAUBERK_X")


def test_what_is_blocked_is_not_asked_even_where_a_wider_network_is_allowed() -> None:
    reach = Reach(allowed=read_networks("127.0.0.0/8", "X"), blocked=read_networks("10.0.0.0/8,127.0.0.2/32", "X"))
    asked = {each: reach.includes(each) for each in ("127.0.0.1", "127.0.0.2", "10.1.1.1", "::ffff:10.1.1.1", "192.168.1.1", "junk")}
    assert asked == {
        "127.0.0.1": True, "127.0.0.2": False, "10.1.1.1": False, "::ffff:10.1.1.1": False, "192.168.1.1": True, "junk": False
    }  # fmt: skip
