"""Credentials in addresses are not kept."""

from __future__ import annotations

import pytest

from hauberk.telemetry.secret import without_secrets

_TOKEN = b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqbyJ9.c2lnbmF0dXJl-_x"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (b"/x?access_token=TOP&y=1", b"/x?access_token=***&y=1"),
        (b"/x?y=1;Access_Token=TOP#f", b"/x?y=1;Access_Token=***#f"),
        (b"/x?api-key=a%20b&API_KEY=c", b"/x?api-key=***&API_KEY=***"),
        (b"/x?who=" + _TOKEN, b"/x?who=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqbyJ9.***"),
        (b"/" + _TOKEN + b"/x", b"/eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqbyJ9.***/x"),
        (b"/x?monkey=1&keys=2&tokens=3", b"/x?monkey=1&keys=2&tokens=3"),
        (b"/access_token=x", b"/access_token=x"),
        (b"/x?token=", b"/x?token="),
    ],
)
def test_a_credential_is_left_out_and_nothing_else(path: bytes, kept: bytes) -> None:
    line = b"1\x1f" + path + b"\x1f200?"
    assert without_secrets(line) == b"1\x1f" + kept + b"\x1f200?"


def test_the_value_ends_where_the_next_field_begins() -> None:
    assert without_secrets(b"/x?token=a\x1fGET") == b"/x?token=***\x1fGET"
