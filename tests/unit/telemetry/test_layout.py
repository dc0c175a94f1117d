"""The lines of requests: values in a fixed order."""

import pytest

from hauberk.telemetry.layout import HEADS, INBOUND_TAG, OUTBOUND_TAG, RESTS, line_format, read_fields
from hauberk.translate import access_log


def line(tag: str, **values: str) -> bytes:
    return line_format(tag, {key: values.get(key, "") for key in (*HEADS[tag], *RESTS[tag])}).encode()


@pytest.mark.parametrize(("tag", "keys"), [(OUTBOUND_TAG, access_log.OUTBOUND_REQUEST), (INBOUND_TAG, access_log.INBOUND_REQUEST)])
def test_every_key_of_a_request_has_its_place(tag: str, keys: dict[str, str]) -> None:
    placed = (*HEADS[tag], *RESTS[tag])
    assert {"k", "d", *placed} == set(keys)
    assert (tag[0], tag[1]) == (keys["k"], keys["d"])
    assert len(set(placed)) == len(placed)


def test_the_log_writes_the_tag_and_the_values_in_that_order() -> None:
    written = access_log.access_log(access_log.INBOUND_REQUEST)
    text = written.typed_config.value.decode("utf-8", "replace")
    places = [text.index(access_log.INBOUND_REQUEST[key]) for key in (*HEADS[INBOUND_TAG], *RESTS[INBOUND_TAG])]
    assert f"{INBOUND_TAG}\x1f" in text
    assert places == sorted(places)


def test_what_is_empty_is_absent_and_a_status_is_a_number() -> None:
    assert read_fields(line(OUTBOUND_TAG, m="GET", s="200", f="-")) == {"k": "h", "d": "o", "m": "GET", "s": 200, "f": "-"}


def test_a_connections_line_is_json() -> None:
    assert read_fields(b'{"k": "t", "d": "i"}\n') == {"k": "t", "d": "i"}


@pytest.mark.parametrize("wrong", [b"", b"ho9\x1fx\n", b"ho2\x1e\n", line(OUTBOUND_TAG)[:-4], line(INBOUND_TAG) + b"\x1f", b"\xff\xfe"])
def test_anything_else_is_refused(wrong: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_fields(wrong)
