"""Equal bytes have equal digests, and only they."""

from hypothesis import given
from hypothesis import strategies as st

from hauberk.kit.digest import digest, short_digest


def test_a_digest_is_the_same_in_every_process() -> None:
    assert digest(b"abc") == "cf4ab791c62b8d2b2109c90275287816"


def test_parts_do_not_run_together() -> None:
    assert digest(b"ab", b"c") != digest(b"a", b"bc") != digest(b"abc")


@given(st.binary(), st.binary())
def test_different_bytes_differ(one: bytes, other: bytes) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_a_short_digest_has_the_length_asked_for() -> None:
    assert len(short_digest("x", 5)) == 5
