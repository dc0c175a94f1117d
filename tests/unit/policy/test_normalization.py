"""Paths as the sidecar reads them; what Envoy itself says is asked in tests/e2e."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.policy.normalization import is_ambiguous, normalized_path, without_query

PATHS = st.lists(st.sampled_from(("/", "..", ".", "a", "%2e", "%2F", "%5c", "\\", ";x", "%41", "%25", "?q=/..")), max_size=8).map("".join)


@pytest.mark.parametrize(
    ("sent", "judged"),
    [
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/..", "/"),
        ("/../../a", "/a"),
        ("/a\\b", "/a/b"),
        ("/%61%2d%7E", "/a-~"),
        ("/a/..;x/b", "/b"),
        ("/a/%2e%2e;x/b", "/a/..;x/b"),
        ("/a|b", "/a%7Cb"),
        ("/%2%61", "/%252a"),
        ("/%%61%62", "/%25ab"),
        ("/%zz", "/%zz"),
        ("/a%2fb", "/a%2fb"),
        ("//a//b", "//a//b"),
        ("/a?x=/../%2e", "/a?x=/../%2e"),
        ("/%252e%252e/a", "/%252e%252e/a"),
    ],
)
def test_the_usual_level_resolves_dots_and_what_need_not_be_escaped(sent: str, judged: str) -> None:
    assert normalized_path(sent, "DEFAULT") == judged == normalized_path(sent, "BASE")
    assert normalized_path(sent, "NONE") == sent


def test_long_paths_are_not_remembered() -> None:
    for length, remembered in ((1000, True), (2000, False)):
        found = [normalized_path("/%61".ljust(length, "a"), "BASE") for _ in range(2)]
        assert found[0] == found[1] == "/a".ljust(length - 2, "a")
        assert (found[0] is found[1]) is remembered


def test_slashes_are_merged_and_decoded_where_the_level_says_so() -> None:
    assert normalized_path("//a//b?c=//", "MERGE_SLASHES") == "/a/b?c=//"
    assert normalized_path("/a%2Fb%5c..%2fc", "DECODE_AND_MERGE_SLASHES") == "/a/c"


@pytest.mark.parametrize("sent", ["/a#b", "/a b", "/a\x00", "/a?b#c"])
def test_what_no_request_may_hold_is_refused_at_every_level(sent: str) -> None:
    assert normalized_path(sent, "NONE") is None


def test_characters_beyond_ascii_are_escaped() -> None:
    assert normalized_path("/ä?ä", "BASE") == "/%C3%A4?ä"
    assert normalized_path("/\udcff", "BASE") == "/%FF"
    assert normalized_path("/ä", "NONE") == "/ä"


def test_an_escaped_nothing_is_refused() -> None:
    assert normalized_path("/a%00", "BASE") is None
    assert normalized_path("/a%00", "NONE") == "/a%00"


def test_what_is_left_out_is_not_looked_at() -> None:
    assert normalized_path("/a/..;%00/b", "BASE") == "/b"


@pytest.mark.parametrize("path", ["/a%2fb", "/a%5Cb", "/a;b", "//a", "/a%252e", "/a%00", "/a%3Bb"])
def test_what_programs_read_in_more_than_one_way_is_ambiguous(path: str) -> None:
    assert is_ambiguous(path)


@pytest.mark.parametrize("path", ["/a", "/a/b.c", "/a%20b", "/a%25", "/%zz", "/%40%60%5b%7b%3a%2c"])
def test_what_is_read_in_one_way_is_not(path: str) -> None:
    assert not is_ambiguous(path)


def test_what_nobody_resolves_is_ambiguous() -> None:
    for path in ("/a/../b", "/a/%2E%2e/b", "/a/.", "/%61", "/%5A", "/%7e", "/%5F", "/%30", "/%2D"):
        assert is_ambiguous(path)
    assert not is_ambiguous("/a..b")


@given(PATHS)
def test_no_segment_of_dots_is_left(path: str) -> None:
    judged = normalized_path(f"/{path}", "BASE")
    assert judged is not None
    assert not re.search(r"/\.\.?(/|$)", judged.partition("?")[0])


@given(PATHS)
def test_what_is_left_of_a_path_that_was_normalized_has_nothing_in_it_that_should_have_been_resolved(path: str) -> None:
    judged = normalized_path(f"/{path}", "BASE")
    if judged is not None and is_ambiguous(without_query(judged)):
        assert re.search(r"(?i:%2f|%5c|%00|%3b|%25[0-9a-f][0-9a-f])|[;\\\\]|//", without_query(judged))
