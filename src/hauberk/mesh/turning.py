"""A workload between plain connections and mutual TLS: its sidecar and its callers never change at the same moment.

Callers send what the sidecar takes: mutual TLS, but where the mode is DISABLE. Told at the same time, some callers would be ahead of the
sidecar and be refused. So whenever that changes, the sidecar takes both at first; then its callers are told; and only when all of them
have heard does the sidecar take what the new mode says, and nothing else. A mode that changes nothing for callers holds at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.mesh.peer_authentication import Modes


@dataclass(frozen=True, slots=True)
class Turn:
    """Callers are told `calling`; some of them may still go by `before`."""

    before: Modes
    calling: Modes


@dataclass(frozen=True, slots=True)
class Turning:
    """Workloads in their turns, and the modes by which the callers of all others go."""

    turns: Mapping[ObjectKey, Turn] = field(default_factory=lambda: MappingProxyType({}))
    resting: Mapping[ObjectKey, Modes] = field(default_factory=lambda: MappingProxyType({}))


def next_turning(turning: Turning, wanted: Mapping[ObjectKey, Modes]) -> Turning:
    """What follows from it that from now on these are the modes; the same object if nothing does."""
    if turning.resting is wanted:
        return turning
    turns: dict[ObjectKey, Turn] = {}
    for key, modes in wanted.items():
        turn, resting = turning.turns.get(key), turning.resting.get(key, modes)
        if turn is None and not _is_same_to_callers(resting, modes):
            turn = Turn(resting, resting)
        if turn is not None and not _is_over(turn, modes):
            turns[key] = turn
    if not turns and not turning.turns:
        return Turning(resting=wanted)
    return Turning(turns, wanted)


def advanced(turning: Turning) -> Turning:
    """The next step of all turns, taken when everybody has acknowledged the one before."""
    turns: dict[ObjectKey, Turn] = {}
    for key, turn in turning.turns.items():
        modes = turning.resting[key]
        if not _is_same_to_callers(turn.calling, modes):
            turns[key] = Turn(before=turn.calling, calling=modes)
    return Turning(turns, turning.resting)


def serving(wanted: Modes, turn: Turn) -> Modes:
    """What the workload's sidecar takes meanwhile: both, on each port where that is changing."""
    around = (turn.before, turn.calling)

    def mode(port: int | None) -> MtlsMode:
        meant = wanted.default if port is None else wanted.of(port)
        return MtlsMode.PERMISSIVE if any(_is_plain(each, port) != (meant is MtlsMode.DISABLE) for each in around) else meant

    ports = tuple((port, mode(port)) for port in _ports(wanted, *around))
    return Modes(mode(None), ports, wanted.origins)


def _is_over(turn: Turn, wanted: Modes) -> bool:
    return _is_same_to_callers(turn.calling, wanted) and _is_same_to_callers(turn.before, wanted)


def _is_same_to_callers(one: Modes, other: Modes) -> bool:
    return all(_is_plain(one, port) == _is_plain(other, port) for port in (None, *_ports(one, other)))


def _is_plain(modes: Modes, port: int | None) -> bool:
    return (modes.default if port is None else modes.of(port)) is MtlsMode.DISABLE


def _ports(*several: Modes) -> tuple[int, ...]:
    return tuple(sorted({port for modes in several for port, _ in modes.ports}))
