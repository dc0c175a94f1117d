"""The messages of a gRPC health check."""

import pytest

from hauberk.agent.grpc_health import HealthUnknown, encode_request, read_answer

OK = {":status": "200", "grpc-status": "0"}


def test_a_request_carries_the_service_name() -> None:
    assert encode_request("") == b"\0\0\0\0\0"
    assert encode_request("a.B") == b"\0\0\0\0\5\x0a\3a.B"


def test_a_long_service_name_has_a_long_length() -> None:
    assert encode_request("s" * 300)[5:8] == b"\x0a\xac\x02"


def test_serving_is_the_good_answer() -> None:
    assert read_answer(OK, b"\0\0\0\0\2\x08\x01") is None


@pytest.mark.parametrize(("body", "said"), [(b"\0\0\0\0\2\x08\x02", "NOT_SERVING"), (b"\0\0\0\0\0", "UNKNOWN")])
def test_anything_else_is_said(body: bytes, said: str) -> None:
    assert read_answer(OK, body) == said


def test_an_error_of_the_server_is_said() -> None:
    assert read_answer({":status": "200", "grpc-status": "5", "grpc-message": "unknown service"}, b"") == "gRPC status 5 unknown service"


def test_a_web_server_is_not_mistaken_for_a_grpc_server() -> None:
    with pytest.raises(HealthUnknown, match="404"):
        read_answer({":status": "404"}, b"<html>")
