"""The messages of the Workload API, as another implementation of protobuf reads and writes them."""

import pytest
from google.protobuf import struct_pb2

from hauberk.identity.wire import InvalidMessage
from hauberk.identity.workload_wire import (
    JwtSvidEntry,
    X509SvidEntry,
    decode_jwt_svid_request,
    decode_validate_request,
    encode_jwt_bundles,
    encode_jwt_svids,
    encode_validated,
    encode_x509_bundles,
    encode_x509_svids,
)

ENTRY = X509SvidEntry(spiffe_id="spiffe://a/b", chain=b"chain", key=b"secret-key", bundle=b"roots", hint="one")


def field(number: int, value: bytes | str) -> bytes:
    """One length-delimited field as protobuf's own encoding has it."""
    data = value.encode() if isinstance(value, str) else value
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def test_identities_have_the_numbers_of_the_texts() -> None:
    svid = field(1, "spiffe://a/b") + field(2, b"chain") + field(3, b"secret-key") + field(4, b"roots") + field(5, "one")
    foreign = field(1, "spiffe://c") + field(2, b"theirs")
    assert encode_x509_svids([ENTRY], [b"crl"], {"spiffe://c": b"theirs"}) == field(1, svid) + field(2, b"crl") + field(3, foreign)


def test_bundles_are_maps_in_a_fixed_order() -> None:
    first, second = field(1, "spiffe://a") + field(2, b"1"), field(1, "spiffe://b") + field(2, b"2")
    given = {"spiffe://b": b"2", "spiffe://a": b"1"}
    assert encode_x509_bundles(given, [b"crl"]) == field(1, b"crl") + field(2, first) + field(2, second)
    assert encode_jwt_bundles(given) == field(1, first) + field(1, second)


def test_tokens_have_the_numbers_of_the_texts() -> None:
    entry = JwtSvidEntry(spiffe_id="spiffe://a/b", token="t", hint="h")
    assert encode_jwt_svids([entry]) == field(1, field(1, "spiffe://a/b") + field(2, "t") + field(3, "h"))


def test_requests_are_read() -> None:
    asked = decode_jwt_svid_request(field(1, "x") + field(1, "y") + field(2, "spiffe://a/b"))
    assert (asked.audience, asked.spiffe_id) == (("x", "y"), "spiffe://a/b")
    judged = decode_validate_request(field(1, "x") + field(2, "t"))
    assert (judged.audience, judged.token) == ("x", "t")


def test_claims_travel_as_a_struct() -> None:
    claims = {"aud": ["x"], "exp": 12, "ok": True, "no": None, "more": {"a": 1.5}}
    encoded = encode_validated("spiffe://a/b", claims)
    head = field(1, "spiffe://a/b")
    assert encoded.startswith(head)
    struct = struct_pb2.Struct.FromString(encoded[len(head) + 2 :])
    assert dict(struct) == {"aud": ["x"], "exp": 12.0, "ok": True, "no": None, "more": {"a": 1.5}}


@pytest.mark.parametrize("claim", [10**400, [{"a": -(10**400)}], "\ud800", {"\ud800": 1}])
def test_claims_that_a_struct_cannot_hold_are_refused(claim: object) -> None:
    with pytest.raises(InvalidMessage):
        encode_validated("spiffe://a/b", {"more": claim})


def test_claims_too_deep_to_be_handed_on_are_refused() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidMessage):
        encode_validated("spiffe://a/b", {"more": deep})


def test_garbage_is_no_request() -> None:
    for read in (decode_jwt_svid_request, decode_validate_request):
        with pytest.raises(InvalidMessage):
            read(b"\x0a\xff")


def test_no_key_and_no_token_is_in_a_repr() -> None:
    assert "secret" not in repr(ENTRY)
    assert "ttt" not in repr(JwtSvidEntry(spiffe_id="s", token="ttt"))
    assert "ttt" not in repr(decode_validate_request(field(2, "ttt")))


def test_the_spiffe_package_finds_its_own_messages_beside_ours() -> None:
    pytest.importorskip("spiffe")
    from spiffe._proto import workload_pb2  # type: ignore[import-not-found, import-untyped, unused-ignore]

    read = workload_pb2.X509SVIDResponse.FromString(encode_x509_svids([ENTRY], [], {}))
    assert [each.spiffe_id for each in read.svids] == ["spiffe://a/b"]
