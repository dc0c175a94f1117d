"""HTTP over a Unix socket, against a server that answers exactly the given bytes."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from hauberk.kit.unix_http import AsyncUnixHttp, NotReachable, RequestFailed, RequestTimedOut, UnixHttp

JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
Serve = Callable[[bytes], "Served"]


class Served:
    """A server for one connection; remembers what it was asked."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.path = path
        self.asked = b""
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            self.asked = connection.recv(65536)
            if self._answer:
                connection.sendall(self._answer)
            else:
                # Not a read: in an asynchronous test the client's end is closed by the very loop that waits for this thread.
                self._done.wait()

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self._listener.close()


@contextmanager
def serving(tmp_path: Path, answer: bytes) -> Iterator[Served]:
    server = Served(tmp_path / "s", answer)
    try:
        yield server
    finally:
        server.close()


def chunked(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


async def ask(path: Path) -> tuple[int, object]:
    return await AsyncUnixHttp(path).request("GET", "/")


def test_a_request_carries_json_and_the_answer_is_parsed(tmp_path: Path) -> None:
    with serving(tmp_path, JSON + b'content-length: 8\r\n\r\n{"a": 1}') as server:
        assert UnixHttp(server.path).request("POST", "/v1/apply", {"x": [1]}) == (200, {"a": 1})
    head, _, body = server.asked.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/apply HTTP/1.1\r\n")
    assert json.loads(body) == {"x": [1]}


def test_lines_of_json_are_not_one_document(tmp_path: Path) -> None:
    with serving(tmp_path, b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length: 6\r\n\r\n{}\n{}\n") as server:
        assert UnixHttp(server.path).request("GET", "/") == (200, "{}\n{}\n")


def test_a_content_type_of_ones_own_replaces_the_default(tmp_path: Path) -> None:
    with serving(tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        assert UnixHttp(server.path).request("PATCH", "/", {}, headers={"Content-Type": "application/merge-patch+json"}) == (204, None)
    assert server.asked.count(b"content-type") == 1


async def test_both_clients_read_chunks_bodies_until_the_end_and_text(tmp_path: Path) -> None:
    for number, (answer, body) in enumerate(
        (
            (chunked(b"hel", b"lo"), "hello"),
            (b"HTTP/1.1 404 Not Found\r\n\r\nno", "no"),
            (JSON + b"content-length: 4\r\n\r\nnull", None),
        )
    ):
        (tmp_path / str(number)).mkdir()
        with serving(tmp_path / str(number), answer) as server:
            assert (await ask(server.path))[1] == body
        (tmp_path / f"{number}s").mkdir()
        with serving(tmp_path / f"{number}s", answer) as server:
            assert UnixHttp(server.path).request("GET", "/")[1] == body


async def test_an_absent_socket_is_not_reachable(tmp_path: Path) -> None:
    with pytest.raises(NotReachable):
        UnixHttp(tmp_path / "absent").request("GET", "/")
    with pytest.raises(NotReachable):
        await ask(tmp_path / "absent")


async def test_a_peer_that_goes_away_in_the_middle_is_not_reachable(tmp_path: Path) -> None:
    for number, answer in enumerate((b"HTTP/1.1 200", JSON + b"content-length: 9\r\n\r\n{", chunked(b"abc")[:-9], b"220 smtp\r\n\r\n")):
        (tmp_path / str(number)).mkdir()
        with serving(tmp_path / str(number), answer) as server, pytest.raises(NotReachable):
            UnixHttp(server.path).request("GET", "/")
        (tmp_path / f"{number}s").mkdir()
        with serving(tmp_path / f"{number}s", answer) as server, pytest.raises(NotReachable):
            await ask(server.path)


async def test_a_silent_peer_times_out(tmp_path: Path) -> None:
    with serving(tmp_path, b"") as server, pytest.raises(RequestTimedOut):
        UnixHttp(server.path).request("GET", "/", timeout=0.01)
    (tmp_path / "a").mkdir()
    with serving(tmp_path / "a", b"") as server, pytest.raises(RequestTimedOut):
        await AsyncUnixHttp(server.path).request("GET", "/", timeout=0.01)


async def test_lines_come_whole_however_the_peer_cuts_them(tmp_path: Path) -> None:
    answer = chunked(b'{"a":1}\n{"b"', b":2}\n\n", b"tail")
    wanted = ['{"a":1}', '{"b":2}', "", "tail"]
    with serving(tmp_path, answer) as server:
        assert list(UnixHttp(server.path).stream_lines("/")) == wanted
    (tmp_path / "a").mkdir()
    with serving(tmp_path / "a", answer) as server:
        assert [line async for line in AsyncUnixHttp(server.path).stream_lines("/")] == wanted


async def test_a_stream_that_is_refused_says_status_and_body(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 410 Gone\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    with serving(tmp_path, answer) as server, pytest.raises(RequestFailed) as refused:
        list(UnixHttp(server.path).stream_lines("/"))
    assert (refused.value.status, refused.value.body) == (410, {})
    (tmp_path / "a").mkdir()
    with serving(tmp_path / "a", answer) as server, pytest.raises(RequestFailed):
        async for _ in AsyncUnixHttp(server.path).stream_lines("/"):
            pass


async def test_a_stream_that_breaks_off_raises_after_its_whole_lines(tmp_path: Path) -> None:
    with serving(tmp_path, chunked(b"one\ntw")[:-5]) as server:
        lines = AsyncUnixHttp(server.path).stream_lines("/")
        assert await anext(lines) == "one"
        with pytest.raises(NotReachable):
            await anext(lines)


async def test_leaving_a_stream_closes_its_connection(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\none\n")
        await reader.read()
        closed.set()
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "s"):
        stream: AsyncIterator[str]
        async with aclosing(AsyncUnixHttp(tmp_path / "s").stream_lines("/")) as stream:
            assert await anext(stream) == "one"
        async with asyncio.timeout(5):
            await closed.wait()
