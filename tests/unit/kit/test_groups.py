"""Texts in groups of bounded length."""

from __future__ import annotations

from hauberk.kit.groups import grouped


def test_a_group_ends_before_it_is_too_long() -> None:
    assert list(grouped(["aa", "bb", "cc"], 5, each=1)) == [["aa", "bb"], ["cc"]]
    assert list(grouped(["aa", "bb", "cc"], 8, each=1)) == [["aa", "bb", "cc"]]


def test_what_is_too_long_stands_alone_and_nothing_is_lost() -> None:
    assert list(grouped(["a", "bbbbbbbb", "c"], 5, each=0)) == [["a"], ["bbbbbbbb"], ["c"]]


def test_of_nothing_there_is_no_group() -> None:
    assert list(grouped([], 5, each=1)) == []
