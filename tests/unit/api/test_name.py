"""Names, labels and annotations."""

import pytest

from hauberk.api.name import label_fault, label_key_fault, label_value_fault, port_name_fault, service_name_fault, subdomain_fault


@pytest.mark.parametrize("text", ["", "A", "-a", "a-", "a_b", "a.b", "a" * 64, "ä", "a\n"])
def test_what_is_no_label(text: str) -> None:
    assert label_fault(text)


def test_a_name_of_a_service_begins_with_a_letter() -> None:
    assert label_fault("1a") is None
    assert service_name_fault("1a")
    assert service_name_fault("a1") is None


def test_a_subdomain_has_dots_between_labels() -> None:
    assert subdomain_fault("a.b-c.1") is None
    assert subdomain_fault("a..b")
    assert subdomain_fault("a" * 254)


def test_a_port_is_named_by_a_short_word_with_a_letter() -> None:
    assert port_name_fault("http-2") is None
    assert port_name_fault("80")
    assert port_name_fault("a" * 16)
    assert port_name_fault("a--b")


def test_keys_of_labels_may_have_a_domain_before_a_slash() -> None:
    assert label_key_fault("app.kubernetes.io/Name_1") is None
    assert label_key_fault("/a")
    assert label_key_fault("A/b")
    assert label_key_fault("a/b/c")


def test_the_value_of_a_label_may_be_empty() -> None:
    assert label_value_fault("") is None
    assert label_value_fault("v1.2_3-x") is None
    assert label_value_fault("a b")
    assert label_value_fault("a" * 64)
