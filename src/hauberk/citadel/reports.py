"""What agents report, within limits: no more than a machine can have, and no faster than an agent in good health says it."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Final

from hauberk.identity.wire import AgentSubject, EntrySubject, Holder, InvalidMessage, PodSubject, Report

LARGEST: Final = 8 * 1024 * 1024  # bytes of a report; a holder is some 150 of them
MOST_HOLDERS: Final = 10_000
_LONGEST: Final = 2048  # characters of any name, as of a SPIFFE ID
_LONGEST_PROBLEM: Final = 1024  # it may quote anything, and is for people
# The event loop serves everybody: what takes longer than a moment to read is read beside it.
_AT_ONCE: Final = 32 * 1024  # bytes
# An agent gathers for a tenth of a second and longer the more it holds, so these never keep one waiting that is in good health.
_PAUSE_SECONDS: Final = 0.05
_BYTES_A_SECOND: Final = 1_000_000


async def read_reports(messages: AsyncIterable[bytes], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> AsyncIterator[Report]:
    """The reports in a stream of `messages`; raises InvalidMessage. Who says much is not listened to for a while."""
    async for data in messages:
        yield await asyncio.to_thread(_report, data) if len(data) > _AT_ONCE else _report(data)
        await sleep(_PAUSE_SECONDS + len(data) / _BYTES_A_SECOND)


def _report(data: bytes) -> Report:
    report = Report.decode(data)
    if len(report.holders) > MOST_HOLDERS:
        raise InvalidMessage(f"no machine has {len(report.holders)} identities: a report names at most {MOST_HOLDERS}")
    if any(len(name) > _LONGEST for holder in report.holders for name in _names(holder)):
        raise InvalidMessage(f"a name in a report has at most {_LONGEST} characters")
    return replace(report, holders=tuple(_told_briefly(holder) for holder in report.holders))


def _names(holder: Holder) -> Iterator[str]:
    yield from (holder.serial, holder.authority_id, holder.spiffe_id)
    match holder.subject:
        case PodSubject(namespace=namespace, name=name, uid=uid):
            yield from (namespace, name, uid)
        case EntrySubject(name=name, evidence=evidence):
            yield name
            for kind, value in evidence:
                yield from (kind, value)
        case AgentSubject():
            pass


def _told_briefly(holder: Holder) -> Holder:
    return holder if len(holder.problem) <= _LONGEST_PROBLEM else replace(holder, problem=f"{holder.problem[:_LONGEST_PROBLEM]}…")
