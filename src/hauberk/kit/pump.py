"""Carrying bytes between two connections until one of them ends."""

import asyncio
from contextlib import suppress

CHUNK = 64 * 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join_streams(here: Stream, there: Stream) -> bool:
    """Everything that arrives at one end has left at the other; both are closed when one is. Whether anything ever came from `there`.

    TLS knows no half-closed connection, so neither does this.
    """
    heard = asyncio.Event()
    up, down = asyncio.ensure_future(_carry(here[0], there[1])), asyncio.ensure_future(_carry(there[0], here[1], heard))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
    finally:
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        for _, writer in (here, there):
            close(writer)
    return heard.is_set()


def close(writer: asyncio.StreamWriter) -> None:
    """The connection ends once what was written has been sent."""
    with suppress(OSError, RuntimeError):
        writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event | None = None) -> None:
    while piece := await reader.read(CHUNK):
        if heard is not None:
            heard.set()
        writer.write(piece)
        await writer.drain()
