"""Paths as Envoy itself normalizes them, at each level of the mesh: the engine says the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, get_args

import pytest
from tests.e2e.envoy_alone import LoneEnvoy, http_listener, lone_envoy, socket_directory

from hauberk.policy.normalization import Level, normalized_path

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
OPTIONS: Final[dict[Level, dict[str, Any]]] = {
    "NONE": {},
    "DEFAULT": {"normalize_path": True},
    "BASE": {"normalize_path": True},
    "MERGE_SLASHES": {"normalize_path": True, "merge_slashes": True},
    "DECODE_AND_MERGE_SLASHES": {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}
PIECES: Final = (
    *("/", "/", "//", "a", "b", ".", "..", "%2e", "%2E", "%2f", "%5C", "\\", ";", ";x", "..;", ".;y"),
    *("%61", "%7E", "%00", "%25", "%", "%2", "|", '"', "{", "?", "=", "&", "%3b", "%c3%a9", "~"),
)
RANDOM: Final = 2000


@pytest.fixture(scope="module")
def envoy() -> Iterator[LoneEnvoy]:
    with socket_directory() as directory:
        listeners = [http_listener(level, directory, {"x-path": "%REQ(:path)%"}, OPTIONS[level]) for level in LEVELS]
        with lone_envoy(directory, listeners) as made:
            yield made


def judged(envoy: LoneEnvoy, level: Level, path: bytes) -> str | None:
    status, headers, _ = envoy.ask(level, b"GET " + path + b" HTTP/1.1\r\nhost: h\r\n\r\n")
    assert status in (200, 400)
    return headers["x-path"] if status == 200 else None


@pytest.mark.parametrize("level", LEVELS)
def test_every_character_and_every_escape_is_read_as_the_engine_reads_it(envoy: LoneEnvoy, level: Level) -> None:
    # The end of a line is the end of a line, not a character of a path.
    characters = [f"/a{chr(number)}z" for number in range(128) if chr(number) not in "\r\n"]
    for path in (*characters, *(f"/a%{number:02x}z" for number in range(256)), *(f"/a%{number:02X}/..;z" for number in range(256))):
        assert judged(envoy, level, path.encode("latin-1")) == normalized_path(path, level), path


@pytest.mark.parametrize("level", LEVELS)
def test_every_byte_is_read_alike_by_http_2(envoy: LoneEnvoy, level: Level) -> None:
    for number in (*range(0x21, 0x7F), *range(0x80, 256)):
        path = b"/a%cz?%c" % (number, number)
        text = path.decode(errors="surrogateescape")
        answer = envoy.ask_http2(level, path)
        # The bytes of the answer are shown one by one.
        wanted = normalized_path(text, level)
        assert (answer or {}).get("x-path") == (None if wanted is None else wanted.encode(errors="surrogateescape").decode("latin-1")), path


def test_by_http_2_nothing_that_cannot_be_seen_comes_through(envoy: LoneEnvoy) -> None:
    # One of them: Envoy takes a second to close such a connection.
    assert envoy.ask_http2("NONE", b"/a b") is None


@pytest.mark.parametrize("level", LEVELS)
def test_by_http_1_no_character_beyond_ascii_comes_through(envoy: LoneEnvoy, level: Level) -> None:
    assert judged(envoy, level, "/ä".encode()) is None


@pytest.mark.parametrize("level", LEVELS)
def test_paths_of_odd_pieces_are_read_as_the_engine_reads_them(envoy: LoneEnvoy, level: Level) -> None:
    chance = random.Random(17)
    for _ in range(RANDOM):
        path = "/" + "".join(chance.choices(PIECES, k=chance.randint(1, 9)))
        assert judged(envoy, level, path.encode()) == normalized_path(path, level), path
