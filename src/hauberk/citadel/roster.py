"""Which agents are connected, and what each has last reported."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from hauberk.identity.wire import Holder, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """One agent: since when it is connected, its last report and when that came."""

    node: str
    connected: datetime
    report: Report | None = None
    heard: datetime | None = None

    @property
    def ahead(self) -> timedelta | None:
        """How much later it is there than here; what the report took to arrive is in it."""
        return None if self.report is None or self.heard is None else self.report.node_time - self.heard


class Roster:
    """The agents that follow the Trust at this moment. `changed` is set by every arrival, report and departure."""

    def __init__(self) -> None:
        self._agents: dict[str, AgentState] = {}
        self._lines: dict[str, asyncio.Event] = {}
        self.changed = asyncio.Event()

    @property
    def agents(self) -> Mapping[str, AgentState]:
        """By node."""
        return self._agents

    @property
    def reports(self) -> dict[str, Report]:
        """The last report of each agent that has made one."""
        return {node: agent.report for node, agent in self._agents.items() if agent.report is not None}

    def holders(self) -> Iterator[tuple[str, Holder]]:
        """Every identity that is held on some machine, with the machine's name."""
        return ((node, holder) for node, report in self.reports.items() for holder in report.holders)

    @contextmanager
    def connected(self, node: str, now: datetime) -> Iterator[asyncio.Event]:
        """The agent of `node` is connected meanwhile. A later stream of the same node takes its place: it is the agent restarted.

        What it is given is set when that happens.
        """
        if (former := self._lines.get(node)) is not None:
            former.set()
        line = self._lines[node] = asyncio.Event()
        self._agents[node] = AgentState(node=node, connected=now)
        self.changed.set()
        try:
            yield line
        finally:
            if self._lines.get(node) is line:
                del self._lines[node], self._agents[node]
                self.changed.set()

    def heard(self, node: str, line: asyncio.Event, report: Report, now: datetime) -> bool:
        """`report` came over `line`; False if that is not the node's stream any more."""
        if self._lines.get(node) is not line:
            return False
        self._agents[node] = AgentState(node=node, connected=self._agents[node].connected, report=report, heard=now)
        self.changed.set()
        return True
