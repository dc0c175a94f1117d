"""Processes that are in no pod: what the door says of them, and which entries hold."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from hauberk.agent.workload_caller import NotEntitled, NotReady
from hauberk.agent.workload_entry import Arrival, Door, Entries, EntryCaller, close_arrival
from hauberk.api.workload_entry import EntrySelectors, WorkloadEntry
from hauberk.identity.wire import EntrySubject
from hauberk.kit.watched import Watched
from hauberk.linux.packet import close_all, receive_packet, send_packet

EVIDENCE = {"uid": "1000", "gid": "100", "path": "/usr/bin/backup", "cgroup": "/user.slice"}


class PlayedDoor:
    """The other end: says of every process what the test says, and remembers what it was asked."""

    def __init__(self, channel: socket.socket, answer: dict[str, Any]) -> None:
        self.channel = channel
        self.channel.setblocking(False)
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def arrive(self, *, uid: int = 1000, gid: int = 100) -> None:
        """A process has connected."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pidfd = os.pidfd_open(os.getpid())
            send_packet(self.channel, {"op": "caller", "pid": 1, "uid": uid, "gid": gid}, (theirs.fileno(), pidfd))
            os.close(pidfd)

    def look(self) -> None:
        packet = receive_packet(self.channel)
        assert packet is not None
        question, descriptors = packet
        assert len(descriptors) == 1
        close_all(descriptors)
        self.asked.append(question)
        send_packet(self.channel, {"op": "evidence", "id": question["id"], **self.answer})


@asynccontextmanager
async def door(answer: dict[str, Any]) -> AsyncIterator[tuple[Door, PlayedDoor, "asyncio.Queue[Arrival]"]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arrivals: asyncio.Queue[Arrival] = asyncio.Queue()
    door, played = Door(ours, arrivals.put_nowait), PlayedDoor(theirs, answer)
    loop = asyncio.get_running_loop()
    loop.add_reader(theirs.fileno(), played.look)
    running = asyncio.create_task(door.run())
    try:
        yield door, played, arrivals
    finally:
        loop.remove_reader(theirs.fileno())
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        theirs.close()


def entry(name: str = "backup", **selectors: Any) -> WorkloadEntry:
    return WorkloadEntry(name=name, service_account=f"shop/{name}", selectors=EntrySelectors(**(selectors or {"uid": 1000})))


@pytest.fixture
def arrival() -> Iterator[Arrival]:
    connection, other = socket.socketpair()
    made = Arrival(connection, os.pidfd_open(os.getpid()), 1000, 100)
    yield made
    close_arrival(made)
    other.close()


async def test_who_arrives_comes_with_what_the_kernel_says_of_him() -> None:
    async with door({}) as (_, played, arrivals):
        played.arrive(uid=7, gid=8)
        arrived = await arrivals.get()
        assert (arrived.uid, arrived.gid) == (7, 8)
        close_arrival(arrived)


async def test_every_entry_that_holds_is_an_identity_in_the_order_of_the_settings(arrival: Arrival) -> None:
    entries: Watched[Entries] = Watched((entry("a", uid=1), entry("b"), entry("c", path="/usr/bin/backup", gid=100)))
    async with door({"evidence": EVIDENCE}) as (made, played, _):
        claims = await EntryCaller(arrival, made, entries).claims()
        assert [(claim.service_account, claim.hint) for claim in claims] == [("b", "b"), ("c", "c")]
        # Citadel is given all that was found out, and decides itself.
        assert claims[0].subject == EntrySubject(name="b", evidence=tuple(sorted(EVIDENCE.items())))
        assert [(each["uid"], each["gid"], each["digest"]) for each in played.asked] == [(1000, 100, False)]


async def test_a_digest_is_taken_only_if_an_entry_asks_for_one(arrival: Arrival) -> None:
    entries: Watched[Entries] = Watched((entry(sha256="ab" * 32),))
    async with door({"evidence": {**EVIDENCE, "sha256": "ab" * 32}}) as (made, played, _):
        assert await EntryCaller(arrival, made, entries).claims()
        assert played.asked[0]["digest"] is True


async def test_a_process_is_looked_at_for_every_answer(arrival: Arrival) -> None:
    entries: Watched[Entries] = Watched((entry(path="/usr/bin/backup"),))
    async with door({"evidence": EVIDENCE}) as (made, played, _):
        caller = EntryCaller(arrival, made, entries)
        assert await caller.claims()
        played.answer = {"evidence": {**EVIDENCE, "path": "/usr/bin/other"}}
        with pytest.raises(NotEntitled, match="no entry"):
            await caller.claims()


async def test_who_cannot_be_looked_into_is_told_why(arrival: Arrival) -> None:
    entries: Watched[Entries] = Watched((entry(),))
    async with door({"refused": "it is in a network namespace of its own"}) as (made, _, __):
        with pytest.raises(NotEntitled, match="network namespace"):
            await EntryCaller(arrival, made, entries).claims()


async def test_without_entries_nobody_is_looked_at(arrival: Arrival) -> None:
    async with door({"evidence": EVIDENCE}) as (made, played, _):
        with pytest.raises(NotEntitled, match="no entry"):
            await EntryCaller(arrival, made, Watched(())).claims()
        with pytest.raises(NotReady):
            await EntryCaller(arrival, made, Watched()).claims()
        assert not played.asked


async def test_a_door_that_is_gone_is_no_answer(arrival: Arrival) -> None:
    entries: Watched[Entries] = Watched((entry(),))
    async with door({"evidence": EVIDENCE}) as (made, played, _):
        asyncio.get_running_loop().remove_reader(played.channel.fileno())
        played.channel.shutdown(socket.SHUT_RDWR)
        with pytest.raises(NotReady):
            await EntryCaller(arrival, made, entries).claims()
