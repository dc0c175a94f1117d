"""The client of Envoy's admin interface."""

import asyncio
from pathlib import Path

import pytest

from hauberk.agent.envoy_admin import AdminUnreachable, EnvoyAdmin, decode_chunks, encode_request


async def ask(socket: Path, answer: bytes) -> tuple[tuple[int, bytes], bytes]:
    """What the client makes of `answer`, and what it sent for it."""
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(serve, socket):
        return await EnvoyAdmin(socket).request("GET", "/ready"), bytes(heard)


async def test_a_plain_answer_is_passed_on(tmp_path: Path) -> None:
    answer, heard = await ask(tmp_path / "a", b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nINIT")
    assert answer == (503, b"INIT")
    assert heard.startswith(b"GET /ready HTTP/1.1\r\n")


async def test_a_chunked_answer_is_put_together(tmp_path: Path) -> None:
    answer, _ = await ask(tmp_path / "a", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x\r\n world\r\n0\r\n\r\n")
    assert answer == (200, b"hello world")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe", b"HTTP/1.1"])
async def test_an_answer_that_is_none_means_unreachable(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(AdminUnreachable):
        await ask(tmp_path / "a", answer)


async def test_nobody_there_means_unreachable_and_not_ready(tmp_path: Path) -> None:
    admin = EnvoyAdmin(tmp_path / "absent")
    with pytest.raises(AdminUnreachable):
        await admin.request("GET", "/ready")
    assert not await admin.is_ready()


@pytest.mark.parametrize("path", ["/a b", "/a\r\nhost: x", "ready", "", "/ä", "/a\x00"])
def test_a_path_that_could_carry_a_second_request_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a request"):
        encode_request("GET", path)


def test_a_method_is_a_word() -> None:
    with pytest.raises(ValueError, match="not a request"):
        encode_request("GET /quitquitquit HTTP/1.1\r\n", "/")


@pytest.mark.parametrize("body", [b"", b"5\r\nhello", b"x\r\n", b"5\r\nhello\r\n"])
def test_cut_off_chunks_are_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode_chunks(body)
