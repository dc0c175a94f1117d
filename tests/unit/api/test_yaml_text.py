"""Texts become located values, within limits and without losing what is right."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.api import yaml_text
from hauberk.api.yaml_text import DEEPEST, LARGEST_FILE, MOST_DOCUMENTS, Node, TextFault, locate, read_documents


def values(text: str) -> list[Any]:
    return [each.value for each in read_documents(text) if isinstance(each, Node)]


def faults(text: str) -> list[TextFault]:
    return [each for each in read_documents(text) if isinstance(each, TextFault)]


def test_documents_are_separate_and_empty_ones_are_left_out() -> None:
    assert values("a: 1\n---\n---\n# nothing\n---\n[b]\n") == [{"a": 1}, ["b"]]


def test_every_value_and_key_knows_its_line_and_column() -> None:
    (node,) = read_documents("# first\na:\n  - b: 1\n    c: {d: x}\n")
    assert isinstance(node, Node)
    assert locate(node, ("a", 0, "b")) == (3, 8)
    assert locate(node, ("a", 0, "c", "d"), key=True) == (4, 9)
    assert locate(node, ("a", 0, "absent", "deeper")) == (3, 5)


def test_positions_count_on_through_documents() -> None:
    second = list(read_documents("a: 1\n---\nb: 2\n"))[1]
    assert isinstance(second, Node)
    assert locate(second, ("b",)) == (3, 4)


def test_reading_goes_on_after_a_broken_document() -> None:
    text = 'a: 1\n---\nb: c: d\n---\ne: "open\n---\nf: 2\n'
    assert values(text) == [{"a": 1}, {"f": 2}]
    assert [(fault.code, fault.line) for fault in faults(text)] == [("HBK0001", 3), ("HBK0001", 6)]


def test_positions_are_right_after_a_broken_document() -> None:
    node = list(read_documents("a: b: c\n---\nd:\n  e: 1\n"))[1]
    assert isinstance(node, Node)
    assert locate(node, ("d", "e")) == (4, 6)


def test_a_key_that_appears_twice_is_refused() -> None:
    (fault,) = faults("a: 1\nb: 2\na: 3\n")
    assert (fault.code, fault.line, fault.column) == ("HBK0006", 3, 1)


def test_a_key_that_is_no_text_is_refused() -> None:
    assert [fault.code for fault in faults("? [a]\n: 1\n")] == ["HBK0104"]
    assert [fault.code for fault in faults("{{a: 1}: 2}")] == ["HBK0104"]


def test_numbers_as_keys_become_texts() -> None:
    assert values("8080: a\n") == [{"8080": "a"}]


def test_aliases_repeat_their_anchor() -> None:
    assert values("a: &x {b: 1}\nc: *x\nd: [*x, *x]\n") == [{"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}]


def test_merged_mappings_are_overridden_by_explicit_keys_wherever_they_stand() -> None:
    assert values("x: &x {a: 1, b: 2}\ny: {a: 3, <<: *x}\nz: {<<: [*x], b: 4}\n")[0]["y"] == {"a": 3, "b": 2}
    assert values("x: &x {a: 1, b: 2}\nz: {<<: [*x, {c: 5}], b: 4}\n")[0]["z"] == {"a": 1, "b": 4, "c": 5}


def test_anchors_do_not_reach_into_the_next_document() -> None:
    assert [fault.code for fault in faults("a: &x 1\n---\nb: *x\n")] == ["HBK0001"]


def test_an_alias_inside_its_own_anchor_is_refused() -> None:
    assert [fault.code for fault in faults("a: &x [*x]\n")] == ["HBK0004"]


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    assert [fault.code for fault in faults("\n".join(lines))] == ["HBK0004"]


def test_a_deep_document_is_refused_and_does_not_end_the_process() -> None:
    assert [fault.code for fault in faults("[" * 100_000)] == ["HBK0003"]
    assert [fault.code for fault in faults("\n".join("  " * depth + "a:" for depth in range(DEEPEST + 2)))] == ["HBK0003"]


def test_a_large_text_is_refused_unread() -> None:
    assert [fault.code for fault in faults(" " * (LARGEST_FILE + 1))] == ["HBK0002"]


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # So many as may be take two seconds.
    monkeypatch.setattr(yaml_text, "MOST_VALUES", 1000)
    assert faults("[" + "1," * 998 + "1]") == []
    assert [fault.code for fault in faults("[" + "1," * 1000 + "1]")] == ["HBK0002"]


def test_too_many_documents_are_refused() -> None:
    assert [fault.code for fault in faults("---\na\n" * (MOST_DOCUMENTS + 1))] == ["HBK0005"]


def test_characters_that_no_text_holds_are_a_fault() -> None:
    assert [fault.code for fault in faults("a: \x00\n")] == ["HBK0001"]
    assert [fault.code for fault in faults("a: \ud800\n")] == ["HBK0008"]


def test_tags_without_meaning_are_refused() -> None:
    assert [fault.code for fault in faults("a: !!python/object:os.system x\n")] == ["HBK0001"]
    assert [fault.code for fault in faults("a: !mine {b: 1}\n")] == ["HBK0001"]


def test_a_block_text_knows_that_it_begins_on_the_next_line() -> None:
    (node,) = read_documents("a: |\n  b\n")
    assert isinstance(node, Node)
    assert node.children["a"].block


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=3), st.sampled_from([None, 2]))
def test_json_is_read_as_json_reads_it(document: dict[str, Any], indent: int | None) -> None:
    assert values(json.dumps(document, indent=indent)) == [document]


@given(st.text(alphabet="ab:-[]{}&*!|>'\"\n #?,%@<", max_size=40))
def test_no_text_raises(text: str) -> None:
    list(read_documents(text))
