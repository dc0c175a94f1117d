"""URLs of bundle endpoints (43: scheme https, no user information), and addresses that are asked for nobody's sake."""

from ipaddress import ip_network

import pytest

from hauberk.citadel.bundle_url import InvalidNetwork, InvalidUrl, is_allowed, parse_url, read_networks, redirected


@pytest.mark.parametrize(
    ("text", "authority", "target"),
    [
        ("https://b.example", "b.example", "/"),
        ("https://b.example:8443/bundle?x=1", "b.example:8443", "/bundle?x=1"),
        ("https://[fd00::1]:443/", "[fd00::1]", "/"),
    ],
)
def test_a_url_says_whom_to_ask_for_what(text: str, authority: str, target: str) -> None:
    url = parse_url(text)
    assert (url.authority, url.target) == (authority, target)
    assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        *("http://b.example/", "b.example", "https://", "https:///x", "ftp://b.example/", "https://u@b.example/", "https://u:p@b.example/"),
        *(
            "https://b.example/#a",
            "https://b.example:99999/",
            "https://b.example/a b",
            "https://b.example/\r\nHost: x",
            "https://bücher.example/",
        ),
        "https://b.example/" + "x" * 3000,
    ],
)
def test_43_other_urls_are_refused(text: str) -> None:
    with pytest.raises(InvalidUrl):
        parse_url(text)


def test_a_redirect_may_be_relative() -> None:
    assert str(redirected(parse_url("https://b.example/a/b"), "../c")) == "https://b.example/c"


@pytest.mark.parametrize("location", ["https://[", "//[::1", "http://b.example/", "https://u@b.example/"])
def test_a_redirect_obeys_the_rules_of_urls(location: str) -> None:
    with pytest.raises(InvalidUrl):
        redirected(parse_url("https://b.example/a/b"), location)


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
