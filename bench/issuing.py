"""The certificate authority: how many certificates one core signs over gRPC, and a thousand agents that renew within a minute."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.issuing_server import NAMESPACE, pod_name
from bench.line import Line, typical
from bench.processes import cpu_seconds
from bench.scale import Scale
from hauberk.identity.csr import build_csr_der
from hauberk.identity.wire import FOLLOW, ISSUE, IssueReply, IssueRequest, PodSubject, Report, method_path

GROUP = "certificates"
# Microseconds of one core for each: 1,500 a second. Milliseconds at 99 of 100 renewals.
CPU_TARGET, RENEWAL_TARGET = 1e6 / 1500, 1000.0
IN_FLIGHT = 64
KEYS = 50  # requests are made before; making one costs the agent as much as signing costs the authority
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Authority:
    """A running one: its process, its sockets, and whom it knows."""

    process: subprocess.Popen[str]
    run: Path
    uids: list[str]  # of the pod on each machine

    def address(self, number: int) -> str:
        return f"unix:{self.run / f'{number}.sock'}"

    def end(self) -> tuple[float, float]:
        """How late its event loop was, at most and at 99 of 100 looks, in milliseconds."""
        out, _ = self.process.communicate()
        worst, usual = out.split()
        return float(worst), float(usual)


def measure(scale: Scale) -> Iterator[Line]:
    """Each with an authority of its own."""
    yield from _throughput(scale)
    yield from _renewals(scale)


def _throughput(scale: Scale) -> Iterator[Line]:
    scale.tell("certificates over gRPC, one after another from 8 machines")
    with _authority(8) as authority:
        bursts = [asyncio.run(_burst(authority, scale.burst_seconds)) for _ in range(scale.rounds)]
        authority.end()
    yield typical(GROUP, "processor time for one over gRPC, attested, recorded", "µs", [cpu for _, cpu in bursts], target=CPU_TARGET)
    yield typical(GROUP, "of that: the signature itself", "µs", [_signature() for _ in range(5)])
    yield typical(GROUP, "of that: the check of the request's signature", "µs", [_verification() for _ in range(5)])
    yield typical(GROUP, "in one second, as long as nothing else uses the machine", "", [rate for rate, _ in bursts])


def _renewals(scale: Scale) -> Iterator[Line]:
    full = scale.pods >= 50
    agents, seconds = (1000, 60) if full else (100, 6)
    scale.tell(f"{agents} agents renew within {seconds} s")
    with _authority(agents) as authority:
        latencies = sorted(asyncio.run(_renew(authority, agents, seconds)))
        worst, usual = authority.end()
    what = f"{agents:,} agents renewing within {seconds} s"
    yield Line(
        group=GROUP,
        name=f"{what}: 99 of 100 answered after",
        unit="ms",
        value=latencies[len(latencies) * 99 // 100],
        target=RENEWAL_TARGET,
        low=latencies[0],
        high=latencies[-1],
        samples=len(latencies),
    )
    yield Line(
        group=GROUP, name=f"{what}: delay of the control plane's other work, 99 of 100", unit="ms", value=usual, high=worst, samples=agents
    )


@contextmanager
def _authority(agents: int) -> Iterator[Authority]:
    with tempfile.TemporaryDirectory(prefix="hauberk-bench-") as directory:
        environment = os.environ | {"HAUBERK_STATE_DIR": f"{directory}/s", "HAUBERK_RUN_DIR": f"{directory}/r"}
        command = [sys.executable, "-m", "bench.issuing_server", "--agents", str(agents), "--log", f"{directory}/log"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE.parent
        ) as process:
            try:
                assert process.stdout is not None
                if not (uids := process.stdout.readline()):
                    raise RuntimeError("the authority did not come up")
                yield Authority(process, Path(directory) / "r" / "bench", json.loads(uids))
            finally:
                process.kill()


async def _burst(authority: Authority, seconds: float) -> tuple[float, float]:
    """Certificates a second, and microseconds of the authority's processor time for each."""
    requests = _requests(authority.uids)
    channels = [grpc.aio.insecure_channel(authority.address(number)) for number in range(8)]
    calls: list[Any] = [channel.unary_unary(method_path(ISSUE)) for channel in channels]
    await asyncio.gather(*(call(requests[number][0]) for number, call in enumerate(calls)))
    done = 0

    async def ask(number: int) -> None:
        nonlocal done
        call, mine = calls[number % 8], requests[number % 8]
        while time.monotonic() < end:
            await call(mine[done % KEYS])
            done += 1

    before, begin = cpu_seconds([authority.process.pid]), time.monotonic()
    end = begin + seconds
    await asyncio.gather(*(ask(number) for number in range(IN_FLIGHT)))
    took, used = time.monotonic() - begin, cpu_seconds([authority.process.pid]) - before
    for channel in channels:
        await channel.close()
    return done / took, used / done * 1e6


async def _renew(authority: Authority, agents: int, seconds: float) -> list[float]:
    """Milliseconds of each renewal: all agents follow the Trust, and each asks once, at a moment of its own."""
    requests = _requests(authority.uids, keys=1)
    channels = [grpc.aio.insecure_channel(authority.address(number)) for number in range(agents)]
    following: list[Any] = [channel.stream_stream(method_path(FOLLOW))() for channel in channels]
    for stream in following:
        await stream.read()
        await stream.write(Report(sequence=0, node_time=datetime.now(UTC)).encode())
    chance = random.Random(1)

    async def renew(number: int) -> float:
        await asyncio.sleep(chance.uniform(0, seconds))
        begin = time.monotonic()
        call: Any = channels[number].unary_unary(method_path(ISSUE))
        reply = IssueReply.decode(await call(requests[number][0]))
        assert len(reply.chain_der) == 2
        return (time.monotonic() - begin) * 1000

    latencies = await asyncio.gather(*(renew(number) for number in range(agents)))
    for stream in following:
        stream.cancel()
    for channel in channels:
        await channel.close()
    return list(latencies)


def _requests(uids: list[str], keys: int = KEYS) -> list[list[bytes]]:
    csrs = [build_csr_der(ec.generate_private_key(ec.SECP256R1())) for _ in range(keys)]
    subjects = [PodSubject(namespace=NAMESPACE, name=pod_name(number), uid=uid) for number, uid in enumerate(uids)]
    return [[IssueRequest(csr_der=csr, subject=subject).encode() for csr in csrs] for subject in subjects]


def _signature() -> float:
    key = ec.generate_private_key(ec.SECP256R1())
    return _microseconds(lambda: key.sign(b"x" * 500, ec.ECDSA(hashes.SHA256())))


def _verification() -> float:
    key = ec.generate_private_key(ec.SECP256R1())
    signature = key.sign(b"x" * 200, ec.ECDSA(hashes.SHA256()))
    public = key.public_key()
    return _microseconds(lambda: public.verify(signature, b"x" * 200, ec.ECDSA(hashes.SHA256())))


def _microseconds(work: Callable[[], object], times: int = 2000) -> float:
    begin = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begin) / times * 1e6
