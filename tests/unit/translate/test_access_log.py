from __future__ import annotations

from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog

from hauberk.translate import access_log
from hauberk.translate.access_log import (
    INBOUND_CONNECTION,
    INBOUND_FAILURE,
    INBOUND_REQUEST,
    INBOUND_UPGRADE,
    OUTBOUND_CONNECTION,
    OUTBOUND_REQUEST,
)

ALL = (INBOUND_CONNECTION, INBOUND_FAILURE, INBOUND_REQUEST, OUTBOUND_CONNECTION, OUTBOUND_REQUEST)


def test_every_line_says_what_it_is_about_who_wrote_it_and_when() -> None:
    assert [(keys["k"], keys["d"]) for keys in ALL] == [("t", "i"), ("l", "i"), ("h", "i"), ("t", "o"), ("h", "o")]
    assert all({"t", "f", "pi", "la"} <= keys.keys() for keys in ALL)


def test_no_text_of_a_caller_is_written_without_an_end() -> None:
    for keys in (*ALL, INBOUND_UPGRADE):
        assert all(value.endswith(":1024%") for value in keys.values() if value.startswith("%REQ(") and "METHOD" not in value)


def test_the_file_is_named_relative_to_the_pods_directory_so_that_all_proxies_share_their_listeners() -> None:
    logger = FileAccessLog()
    assert access_log.access_log(INBOUND_REQUEST).typed_config.Unpack(logger)
    assert logger.path == "access.log"
