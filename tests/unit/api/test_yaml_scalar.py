"""Words of YAML mean what Kubernetes' reader makes of them."""

import pytest

from hauberk.api.yaml_scalar import UnsupportedTag, resolve_scalar


def plain(text: str) -> object:
    return resolve_scalar(text, None, plain=True)


def test_words_of_yaml_1_1_are_booleans_and_nulls() -> None:
    assert [plain(word) for word in ("yes", "Off", "true", "n")] == [True, False, True, False]
    assert plain("~") is plain("") is plain("Null") is None


def test_numbers_have_bases_signs_and_underscores() -> None:
    assert [plain(text) for text in ("80", "-1", "0x1F", "0b11", "0o17", "017", "1_000")] == [80, -1, 31, 3, 15, 15, 1000]


def test_a_short_hash_that_looks_like_a_number_is_one_as_in_kubernetes() -> None:
    assert plain("12e3") == 12000.0
    assert plain("1.5") == 1.5


def test_dates_versions_times_and_addresses_stay_texts() -> None:
    for text in ("2026-01-01", "1.2.3", "12:30:45", "10.0.0.1", "-", ".", "0x", "+"):
        assert plain(text) == text


def test_quotes_make_a_text_of_anything() -> None:
    assert resolve_scalar("80", None, plain=False) == "80"


def test_a_number_too_long_to_be_one_is_a_text() -> None:
    assert plain("1" * 10_000) == "1" * 10_000


def test_a_tag_without_a_value_in_json_is_refused() -> None:
    with pytest.raises(UnsupportedTag):
        resolve_scalar("aGk=", "tag:yaml.org,2002:binary", plain=False)
    assert resolve_scalar("5", "tag:yaml.org,2002:str", plain=False) == "5"
