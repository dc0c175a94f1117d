"""What a machine does when something is revoked, with sidecars that are played."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hauberk.agent.revocation import Revocations
from hauberk.agent.sidecar_pod import PodRef
from hauberk.identity.trust import Revoked, Trust
from hauberk.linux.socket_destroy import Connection
from hauberk.xds.layers import Layer

OLD, NEW = "a" * 32, "b" * 32
A = PodRef(uid="u-a", namespace="shop", name="a", service_account="web", network="u-a", addresses=("10.244.0.2",))
B = PodRef(uid="u-b", namespace="shop", name="b", service_account="web", network="u-b", addresses=("10.244.0.3",))
FROM_A = Connection("10.244.0.3", 15006, "10.244.0.2", 40000)


@dataclass
class PlayedSidecars:
    """Two sidecars, which answer when they are told to."""

    pods: tuple[PodRef, ...] = (A, B)
    serials: dict[str, str] = field(default_factory=lambda: {"u-a": OLD, "u-b": NEW})
    told: list[Layer] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    settled: bool = True

    def set_revoked(self, revoked: Layer) -> None:
        self.told.append(revoked)

    def holds(self, uid: str) -> str:
        return self.serials.get(uid, "")

    def renew(self, uid: str) -> None:
        self.renewed.append(uid)


@dataclass
class Ended:
    """The pods whose connections were looked at, and whether one that came from pod a would have ended there."""

    seen: asyncio.Queue[tuple[str, bool]] = field(default_factory=asyncio.Queue)

    async def __call__(self, pod: PodRef, condemned: Callable[[Connection], bool]) -> int:
        self.seen.put_nowait((pod.uid, condemned(FROM_A)))
        return 1

    async def sweep(self) -> set[str]:
        """The pods in which the connection from pod a ended."""
        async with asyncio.timeout(10):
            both = [await self.seen.get(), await self.seen.get()]
        return {uid for uid, ended in both if ended}


def trust(sequence: int, revoked: Revoked | None = None) -> Trust:
    return Trust(sequence=sequence, trust_domain="cluster.local", revoked=revoked or Revoked())


HELD = frozenset({(OLD, "u-a")})
POD_A = Revoked(pods=frozenset({"u-a"}), serials=frozenset({OLD}), holders=HELD)
CERTIFICATE_A = Revoked(serials=frozenset({OLD}), holders=HELD)


@asynccontextmanager
async def dealing(path: Path, sidecars: PlayedSidecars, ended: Ended) -> AsyncIterator[Revocations]:
    made = Revocations(sidecars=sidecars, end=ended, path=path / "revocations.json", adopted=lambda: True)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def kept(path: Path) -> None:
    """What was dealt with is on disk."""
    async with asyncio.timeout(10):
        while not (path / "revocations.json").exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)


async def test_a_revoked_pods_connections_end_and_every_envoy_is_told_first(tmp_path: Path) -> None:
    sidecars, ended = PlayedSidecars(), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(trust(1, POD_A))
        assert len(sidecars.told) == 1
        assert await ended.sweep() == {"u-b"}


async def test_a_pod_whose_certificate_was_revoked_asks_for_another_before_its_connections_end(tmp_path: Path) -> None:
    sidecars, ended = PlayedSidecars(), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(trust(1, CERTIFICATE_A))
        assert sidecars.renewed == ["u-a"]
        await asyncio.sleep(0)
        assert ended.seen.empty()
        sidecars.serials["u-a"] = NEW
        assert await ended.sweep() == {"u-b"}


async def test_one_whose_revocation_is_lifted_asks_at_once(tmp_path: Path) -> None:
    sidecars = PlayedSidecars()
    async with dealing(tmp_path, sidecars, Ended()) as revocations:
        revocations.take(trust(1, POD_A))
        assert sidecars.renewed == []
        revocations.take(trust(2))
        assert sidecars.renewed == ["u-a"]


async def test_a_trust_that_revokes_nothing_more_disturbs_nobody(tmp_path: Path) -> None:
    sidecars, ended = PlayedSidecars(), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(trust(1, POD_A))
        await ended.sweep()
        await kept(tmp_path)
        revocations.take(trust(2, POD_A))
        assert len(sidecars.told) == 1
        await asyncio.sleep(0)
        assert ended.seen.empty()


async def test_another_agent_tells_its_envoys_and_ends_only_what_its_predecessor_did_not(tmp_path: Path) -> None:
    sidecars, ended = PlayedSidecars(), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(trust(1, POD_A))
        await ended.sweep()
        await kept(tmp_path)
    again = PlayedSidecars()
    async with dealing(tmp_path, again, ended) as revocations:
        revocations.take(trust(1, POD_A))
        assert len(again.told) == 1
        revocations.take(trust(2, replace(POD_A, pods=frozenset({"u-a", "u-b"}))))
        assert await ended.sweep() == {"u-b"}
        assert ended.seen.empty()


async def test_a_damaged_memory_ends_connections_once_more(tmp_path: Path) -> None:
    (tmp_path / "revocations.json").write_text("{")
    ended = Ended()
    async with dealing(tmp_path, PlayedSidecars(), ended) as revocations:
        revocations.take(trust(1, POD_A))
        assert await ended.sweep() == {"u-b"}
