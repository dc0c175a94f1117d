"""Addresses: given once, remembered, and not given again at once."""

from pathlib import Path

import pytest

from hauberk.agent.ipam import AddressBook, AddressesExhausted, PodAddresses, next_offset


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
