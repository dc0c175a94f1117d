"""What a handshake says in the clear."""

from hauberk.demo.tls import Hello, parse_hello, tcp_payload


def _extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2) + len(body).to_bytes(2) + body


def _hello(side: int, *extensions: bytes) -> bytes:
    middle = b"\x13\x01\x00" if side == 2 else b"\x00\x02\x13\x01\x01\x00"
    joined = b"".join(extensions)
    body = b"\x03\x03" + bytes(32) + b"\x00" + middle + len(joined).to_bytes(2) + joined
    message = bytes([side]) + len(body).to_bytes(3) + body
    return b"\x16\x03\x03" + len(message).to_bytes(2) + message


SERVER = _hello(2, _extension(43, b"\x03\x04"), _extension(51, b"\x11\xec" + b"\x00\x04abcd"))
CLIENT = _hello(1, _extension(43, b"\x06\x0a\x0a\x03\x04\x03\x03"), _extension(51, b"\x00\x08\x11\xec\x00\x04abcd"))


def test_a_server_says_which_version_and_group_it_chose() -> None:
    assert parse_hello(SERVER) == Hello("server", "TLSv1.3", "X25519MLKEM768")


def test_a_client_offers_versions_and_its_newest_counts() -> None:
    assert parse_hello(CLIENT) == Hello("client", "TLSv1.3", "X25519MLKEM768")


def test_a_server_without_extensions_speaks_the_old_version() -> None:
    assert parse_hello(_hello(2)) == Hello("server", "TLSv1.2", "")


def test_plain_http_is_no_handshake() -> None:
    assert parse_hello(b"GET / HTTP/1.1\r\nhost: web\r\nuser-agent: something long enough\r\n\r\n") is None


def test_a_hello_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    for size in range(len(CLIENT)):
        parse_hello(CLIENT[:size])


def test_the_payload_is_found_behind_ipv4_and_ipv6() -> None:
    tcp = bytes(12) + b"\x50" + bytes(7)
    ipv4 = bytes(12) + b"\x08\x00" + b"\x45" + bytes(8) + b"\x06" + bytes(10) + tcp + b"text"
    ipv6 = bytes(12) + b"\x86\xdd" + bytes(6) + b"\x06" + bytes(33) + tcp + b"text"
    assert (tcp_payload(ipv4), tcp_payload(ipv6)) == (b"text", b"text")
    assert tcp_payload(bytes(60)) == b""
