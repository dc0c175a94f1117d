"""What a machine does when something is revoked, with sidecars that are played."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hauberk.agent import revocation
from hauberk.agent.revocation import Revocations
from hauberk.agent.sidecar_pod import PodRef
from hauberk.agent.trust_report import Held
from hauberk.identity.trust import Revoked, Trust
from hauberk.identity.wire import Holder, PodSubject
from hauberk.kit.watched import Watched
from hauberk.linux.socket_destroy import Connection

WEB = "spiffe://cluster.local/ns/shop/sa/web"
OLD, NEW = "a" * 32, "b" * 32
A = PodRef(uid="u-a", namespace="shop", name="a", service_account="web", network="u-a", addresses=("10.244.0.2",))
B = PodRef(uid="u-b", namespace="shop", name="b", service_account="web", network="u-b", addresses=("10.244.0.3",))
FROM_A = Connection("10.244.0.3", 15006, "10.244.0.2", 40000)


@dataclass
class PlayedSidecars:
    """Two sidecars, whose Envoys have acknowledged the Trust that they are given by hand."""

    pods: tuple[PodRef, ...] = (A, B)
    shown: dict[str, str] = field(default_factory=lambda: {"u-a": OLD, "u-b": NEW})
    trust: Trust | None = None
    replaced: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    newest: dict[str, str] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    changes: Watched[str] = field(default_factory=Watched)

    @property
    def held(self) -> list[Held]:
        return [self._held(pod) for pod in self.pods]

    def _held(self, pod: PodRef) -> Held:
        subject = PodSubject(namespace=pod.namespace, name=pod.name, uid=pod.uid)
        if pod.uid in self.down:
            return Held(holder=Holder(subject=subject), trust=None, running=False)
        return Held(holder=Holder(subject=subject, serial=self.shown.get(pod.uid, "")), trust=self.trust)

    def serials(self, uid: str) -> frozenset[str]:
        return frozenset({self.shown.get(uid, ""), self.newest.get(uid, "")}) - {""}

    def replace_certificate(self, uid: str) -> None:
        self.replaced.append(uid)

    def ask_again(self, uid: str) -> None:
        self.asked.append(uid)


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
    made = Revocations(sidecars=sidecars, end=ended, path=path / "revocations.json")
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


async def test_a_revoked_pods_connections_end_when_every_envoy_refuses_it(tmp_path: Path) -> None:
    sidecars, ended = PlayedSidecars(), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(told := trust(1, POD_A))
        await asyncio.sleep(0)
        assert ended.seen.empty()
        sidecars.trust = told
        assert await ended.sweep() == {"u-b"}
        assert sidecars.replaced == [], "it would be refused"


async def test_a_pod_whose_certificate_was_revoked_shows_another_before_its_connections_end(tmp_path: Path) -> None:
    sidecars, ended = PlayedSidecars(), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(told := trust(1, CERTIFICATE_A))
        sidecars.trust = told
        assert sidecars.replaced == ["u-a"]
        await asyncio.sleep(0)
        assert ended.seen.empty()
        sidecars.shown["u-a"] = NEW
        assert await ended.sweep() == {"u-b"}


async def test_an_envoy_that_does_not_answer_holds_nothing_up_and_is_come_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "FIRST_PATIENCE", 0)
    monkeypatch.setattr(revocation, "SECOND_PATIENCE", 0)
    sidecars, ended = PlayedSidecars(), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(told := trust(1, POD_A))
        assert await ended.sweep() == {"u-b"}
        assert await ended.sweep() == {"u-b"}, "what it let in meanwhile"
        await kept(tmp_path)
        sidecars.changes.set("u-b")
        await asyncio.sleep(0)
        assert ended.seen.empty()
        sidecars.trust = told
        sidecars.changes.set("u-b")
        assert await ended.sweep() == {"u-b"}, "what it let in before it refused"


async def test_an_envoy_that_does_not_run_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "FIRST_PATIENCE", None)
    sidecars, ended = PlayedSidecars(down={"u-b"}), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        sidecars.trust = told = trust(1, POD_A)
        revocations.take(told)
        assert await ended.sweep() == {"u-b"}


async def test_a_revoked_certificate_that_an_envoy_is_only_about_to_show_is_replaced(tmp_path: Path) -> None:
    sidecars = PlayedSidecars(shown={}, newest={"u-a": OLD})
    async with dealing(tmp_path, sidecars, Ended()) as revocations:
        revocations.take(trust(1, CERTIFICATE_A))
        assert sidecars.replaced == ["u-a"]


async def test_a_revoked_certificate_that_comes_late_is_replaced_once(tmp_path: Path) -> None:
    sidecars, ended = PlayedSidecars(shown={}, trust=trust(1, CERTIFICATE_A)), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(trust(1, CERTIFICATE_A))
        await ended.sweep()
        await kept(tmp_path)
        assert sidecars.replaced == []
        sidecars.newest["u-a"] = OLD
        for _ in range(3):
            sidecars.changes.set("u-a")
            for _ in range(5):
                await asyncio.sleep(0)
        assert sidecars.replaced == ["u-a"]


async def test_one_whose_revocation_is_lifted_asks_at_once(tmp_path: Path) -> None:
    sidecars = PlayedSidecars()
    async with dealing(tmp_path, sidecars, Ended()) as revocations:
        for number, revoked in enumerate((POD_A, Revoked(), Revoked(identities=frozenset({WEB})), Revoked())):
            revocations.take(trust(number, revoked))
        assert sidecars.asked[:1] == ["u-a"]
        assert sorted(sidecars.asked[1:]) == ["u-a", "u-b"]


async def test_a_trust_that_revokes_nothing_more_disturbs_nobody(tmp_path: Path) -> None:
    sidecars, ended = PlayedSidecars(trust=trust(1, POD_A)), Ended()
    async with dealing(tmp_path, sidecars, ended) as revocations:
        revocations.take(trust(1, POD_A))
        await ended.sweep()
        await kept(tmp_path)
        revocations.take(trust(2, POD_A))
        await asyncio.sleep(0)
        assert ended.seen.empty()


async def test_another_agent_ends_only_what_its_predecessor_did_not(tmp_path: Path) -> None:
    ended = Ended()
    async with dealing(tmp_path, PlayedSidecars(trust=trust(1, POD_A)), ended) as revocations:
        revocations.take(trust(1, POD_A))
        await ended.sweep()
        await kept(tmp_path)
    both = replace(POD_A, pods=frozenset({"u-a", "u-b"}))
    async with dealing(tmp_path, PlayedSidecars(trust=trust(2, both)), ended) as revocations:
        revocations.take(trust(1, POD_A))
        revocations.take(trust(2, both))
        assert await ended.sweep() == {"u-b"}
        assert ended.seen.empty()


async def test_a_damaged_memory_ends_connections_once_more(tmp_path: Path) -> None:
    (tmp_path / "revocations.json").write_text("{")
    ended = Ended()
    async with dealing(tmp_path, PlayedSidecars(trust=trust(1, POD_A)), ended) as revocations:
        revocations.take(trust(1, POD_A))
        assert await ended.sweep() == {"u-b"}
