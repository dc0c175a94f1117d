"""The bytes of a transaction, read back as the kernel reads them."""

import struct
from collections.abc import Iterator

from hauberk.interception.capture import Capture, read_capture
from hauberk.interception.nftables import describe_step, encode_transaction
from hauberk.interception.ruleset import build_ruleset

BEGIN, END = 0x10, 0x11


def headers(messages: tuple[bytes, ...]) -> Iterator[tuple[int, int, int, int, int]]:
    return (struct.unpack_from("=IHHII", message) for message in messages)


def test_one_batch_holds_everything() -> None:
    messages = encode_transaction(build_ruleset(Capture()))
    kinds = [kind for _, kind, *_ in headers(messages)]
    assert (kinds[0], kinds[-1]) == (BEGIN, END)
    assert BEGIN not in kinds[1:-1]
    assert END not in kinds[1:-1]


def test_every_message_says_its_own_length_and_number() -> None:
    messages = encode_transaction(build_ruleset(Capture()))
    assert [length for length, *_ in headers(messages)] == [len(message) for message in messages]
    assert [sequence for *_, sequence, _ in headers(messages)] == list(range(1, len(messages) + 1))


def test_the_table_is_replaced_and_not_added_to() -> None:
    kinds = [kind & 0xFF for _, kind, *_ in headers(encode_transaction(build_ruleset(Capture())))][1:4]
    assert kinds == [0, 2, 0]  # new, delete, new


def test_equal_rules_give_equal_bytes() -> None:
    first = encode_transaction(build_ruleset(Capture()))
    assert first == encode_transaction(build_ruleset(read_capture({})[0]))


def test_a_refusal_names_the_rule() -> None:
    ruleset = build_ruleset(Capture())
    # begin, three of the table, four chains: the first rule is the ninth message.
    assert ruleset[0].because in describe_step(ruleset, 9)
    assert "table or chain" in describe_step(ruleset, 2)


def test_the_reason_is_kept_beside_the_rule() -> None:
    ruleset = build_ruleset(Capture())
    messages = encode_transaction(ruleset)
    assert all(rule.because.encode() + b"\0" in message for rule, message in zip(ruleset, messages[8:-1], strict=True))
