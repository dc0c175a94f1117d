"""What a line of a sidecar becomes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.telemetry.lines import FRONT, INBOUND, OUTBOUND, PODS, WEB, decoded, line

from hauberk.telemetry.decode import Decoder, UndecodableLine, build_record
from hauberk.telemetry.record import AccessRecord, Party


def record(base: dict[str, Any], **changes: object) -> AccessRecord:
    entry = decoded(base, **changes)
    return build_record(entry.line, entry.between.source, entry.between.destination)


def test_both_sides_tell_the_same_parties() -> None:
    source = Party(FRONT.identity, FRONT.pod, "shop", "10.244.0.5")
    destination = Party(WEB.identity, WEB.pod, "shop", "10.244.0.7", "web.shop.svc.cluster.local", 80)
    for base in (OUTBOUND, INBOUND):
        between = decoded(base).between
        assert (between.source, between.destination) == (source, destination)


def test_a_request_has_the_public_shape() -> None:
    assert record(INBOUND).to_document() == {
        "time": "2026-03-01T12:00:00.123Z",
        "source": {"identity": FRONT.identity, "pod": FRONT.pod, "namespace": "shop", "address": "10.244.0.5"},
        "destination": {
            "identity": WEB.identity,
            "pod": WEB.pod,
            "namespace": "shop",
            "address": "10.244.0.7",
            "service": "web.shop.svc.cluster.local",
            "port": 80,
        },
        "protocol": "HTTP/2",
        "method": "GET",
        "authority": "web.shop",
        "path": "/products?id=17",
        "status": 200,
        "grpcStatus": None,
        "flags": None,
        "details": "via_upstream",
        "durationMs": 1.733,
        "bytesIn": 3,
        "bytesOut": 123,
        "requestId": "req-1",
        "traceId": "a" * 32,
        "spanId": "b" * 16,
        "mtls": {"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "group": "X25519MLKEM768"},
        "decision": {"verdict": "allow", "policy": "shop/readers", "rule": "0", "reason": None, "dryRun": None, "audit": []},
        "reporter": "destination",
    }


def test_plaintext_where_mutual_tls_is_demanded_is_a_denial() -> None:
    made = record(INBOUND, k="l", f="NR", x="filter_chain_not_found", pi=None, tv=None, n=None, ch="10.244.0.99", s=None)
    assert made.denied
    assert made.source == Party(address="10.244.0.99")
    assert made.mtls is None


def test_a_wrong_certificate_is_a_denial_with_its_reason() -> None:
    made = record(INBOUND, k="l", tf="TLS_error:|CERTIFICATE_VERIFY_FAILED", pi=None)
    assert made.denied
    assert "CERTIFICATE_VERIFY_FAILED" in made.details


def test_a_connection_that_was_only_opened_and_closed_is_no_denial() -> None:
    assert not record(INBOUND, k="l", x=None, pi=None).denied


def test_grpc_is_told_with_its_status() -> None:
    made = record(INBOUND, g=7)
    assert (made.protocol, made.grpc_status) == ("gRPC", 7)


def test_somebody_elses_tls_is_not_mutual_tls() -> None:
    assert record(OUTBOUND, pi=None).mtls is None


def test_a_destination_outside_the_mesh_is_its_address() -> None:
    made = decoded(OUTBOUND, c="PassthroughCluster", u="93.184.216.34:443", la="93.184.216.34:443", pi=None, w="93.184.216.34:443").between
    assert made.destination == Party(address="93.184.216.34", port=443)


def test_a_destination_that_was_never_reached_is_still_the_service_that_was_meant() -> None:
    made = decoded(OUTBOUND, u=None, pi=None, w=None, s=503, f="UH").between
    assert made.destination.service == "web.shop.svc.cluster.local"
    assert record(OUTBOUND, u=None, s=503, f="UH").flags == "UH"


def test_ipv6_addresses_are_told_without_brackets_and_found() -> None:
    made = decoded(INBOUND, ch="fd00:10:244::5").between
    assert (made.source.address, made.source.pod) == ("fd00:10:244::5", FRONT.pod)


def test_of_connections_milliseconds_must_do() -> None:
    assert record(INBOUND, k="t", us=None, ms=25).duration_ms == 25.0


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"3",
        b"{}",
        b'{"d":"o"}',
        b'{"d":"o","t":5}',
        b'{"k":"h","d":"o","t":5}',
        b'{"d":"o","t":"x.y"}',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"d":"i","t":"1.1","n":5}',
        b"hi2\x1e",
        b"hi2\x1f\x1e\x1f",
        b"hi9" + line(INBOUND)[3:],
        line(INBOUND)[:-5],
        line(INBOUND) + b"\x1f",
        line(INBOUND, t="soon"),
        line(INBOUND, t=10**30),
        line(INBOUND, k="t", t=str(10**30)),
        line(INBOUND, k="t", pi=["a", "b"]),
        line(INBOUND, s="fine"),
    ],
)
def test_what_is_no_line_of_a_sidecar_is_refused(text: bytes) -> None:
    with pytest.raises(UndecodableLine):
        Decoder(WEB, PODS.get).decode(text)


def test_a_line_is_read_for_what_is_counted_and_comes_back_whole() -> None:
    text = line(INBOUND, us=1733, s=503)
    entry = Decoder(WEB, PODS.get).decode(text)
    assert (entry.time, entry.microseconds, entry.failed, entry.denied) == (1772366400123456, 1733, True, False)
    assert (entry.request_id, entry.line) == (b"req-1", text)


def test_lines_between_the_same_parties_share_what_is_known_of_these_until_it_may_have_changed() -> None:
    decoder = Decoder(WEB, PODS.get)
    first, second = (decoder.decode(line(INBOUND, r=name)).between for name in ("a", "b"))
    decoder.forget()
    assert first is second
    assert decoder.decode(line(INBOUND)).between is not first


@given(st.dictionaries(st.sampled_from(sorted(INBOUND)), st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers())))
def test_no_line_whatever_its_values_does_anything_but_decode_or_be_refused(changes: dict[str, object]) -> None:
    text = line(INBOUND, **changes)
    try:
        entry = Decoder(WEB, PODS.get).decode(text)
        build_record(entry.line, entry.between.source, entry.between.destination)
    except UndecodableLine:
        pass


@pytest.mark.parametrize("told", ["", "nonsense", "00-xyz-b-00", f"00-{'a' * 31}-{'b' * 16}-00"])
def test_what_is_no_trace_context_is_no_trace(told: str) -> None:
    made = record(INBOUND, tp=told)
    assert (made.trace_id, made.span_id) == ("", "")
