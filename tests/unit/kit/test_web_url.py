"""URLs of documents that are fetched (SPIFFE Federation, 43: scheme https, no user information)."""

import pytest

from hauberk.kit.web_url import InvalidUrl, parse_url, redirected


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


def test_http_is_taken_only_where_it_was_allowed() -> None:
    url = parse_url("http://idp.example/keys", plain=True)
    assert (str(url), url.port) == ("http://idp.example/keys", 80)
    with pytest.raises(InvalidUrl, match="begins with https"):
        parse_url("http://idp.example/keys")
