"""Addresses: given once, remembered, and not given again at once."""

import json
from pathlib import Path

import pytest

from hauberk.agent.ipam import AddressBook, AddressesExhausted, PodAddresses, next_offset, worn_offset


def test_both_addresses_of_a_pod_end_in_the_same_number() -> None:
    addresses = PodAddresses(258)
    assert (addresses.ipv4, addresses.ipv6, addresses.hardware) == ("10.244.1.2", "fd00:10:244::102", "02:00:0a:f4:01:02")


def test_a_pod_keeps_its_addresses(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    assert book.assign("a") == book.assign("a")
    assert book.assign("a") != book.assign("b")


def test_addresses_survive_a_restart(tmp_path: Path) -> None:
    before = AddressBook(tmp_path / "addresses.json").assign("a")
    assert AddressBook(tmp_path / "addresses.json").assign("a") == before


def test_a_released_address_rests_also_through_a_restart(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    first = book.assign("a")
    book.release("a")
    assert AddressBook(tmp_path / "addresses.json").assign("b") != first


def test_the_last_address_is_followed_by_the_first_free_one() -> None:
    assert next_offset({2, 3}, cursor=65535) == 4


def test_no_address_left_is_said() -> None:
    with pytest.raises(AddressesExhausted, match="delete pods"):
        next_offset(range(65536), cursor=2)


def test_a_spoilt_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"next": ')
    assert AddressBook(tmp_path / "addresses.json").assign("a").ipv4 == "10.244.0.2"


def test_addresses_of_pods_that_are_no_more_are_released(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    kept = book.assign("a")
    book.assign("b")
    book.keep_only({"a"})
    assert (book.assign("a"), book.assign("b").offset) == (kept, 4)


def test_an_address_that_cannot_be_noted_is_not_given(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    (tmp_path / "addresses.new").mkdir()  # in the way, as a full disk would be
    with pytest.raises(OSError, match="directory"):
        book.assign("a")
    (tmp_path / "addresses.new").rmdir()
    assert book.assign("a") == AddressBook(tmp_path / "addresses.json").assign("a")


def test_an_address_can_be_released_though_nothing_can_be_written(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    book.assign("a")
    (tmp_path / "addresses.new").mkdir()
    book.release("a")


def test_pods_that_run_keep_what_they_wear_though_the_book_is_lost(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    book.adopt({"a": ("10.244.1.2", "fd00:10:244::102"), "b": ("10.244.0.2",)})
    assert (book.assign("a").ipv4, book.assign("b").ipv4) == ("10.244.1.2", "10.244.0.2")
    assert book.assign("new").ipv4 == "10.244.1.3"
    assert AddressBook(tmp_path / "addresses.json").assign("a").ipv4 == "10.244.1.2"


def test_what_the_book_says_counts_more_than_what_a_pod_claims(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    mine = book.assign("a")
    book.adopt({"a": ("10.244.0.9",), "thief": (mine.ipv4,)})
    assert book.assign("a") == mine
    assert book.assign("thief") != mine


@pytest.mark.parametrize(
    "worn",
    [
        (),
        ("10.244.0.1",),
        ("10.244.255.255",),
        ("10.244.0.0",),
        ("10.245.0.7",),
        ("fd00:10:245::7",),
        ("10.244.0.7", "fd00:10:244::8"),
        ("x",),
    ],
)
def test_an_address_that_no_pod_is_given_is_not_kept(worn: tuple[str, ...]) -> None:
    assert worn_offset(worn) is None


@pytest.mark.parametrize("offsets", [{"a": 70000}, {"a": 1}, {"a": 5, "b": 5}, {"a": -3}, ["a"]])
def test_a_book_that_says_the_impossible_is_begun_anew(tmp_path: Path, offsets: object) -> None:
    (tmp_path / "addresses.json").write_text(json.dumps({"next": 9, "pods": offsets}))
    assert AddressBook(tmp_path / "addresses.json").assign("c").offset == 2


def test_pods_keep_what_they_wear_though_nothing_can_be_written(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "addresses.json")
    (tmp_path / "addresses.new").mkdir()
    book.adopt({"a": ("10.244.0.7",)})
    (tmp_path / "addresses.new").rmdir()
    assert book.assign("a").offset == 7
