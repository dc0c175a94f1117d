"""Between plain connections and mutual TLS: who takes and who sends what, step by step."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from hauberk.api.metadata import ObjectKey
from hauberk.api.peer_authentication import MtlsMode
from hauberk.mesh.peer_authentication import Modes
from hauberk.mesh.turning import Turning, advanced, next_turning, serving

WEB = ObjectKey("Pod", "shop", "web")
STRICT, PERMISSIVE, DISABLE = MtlsMode.STRICT, MtlsMode.PERMISSIVE, MtlsMode.DISABLE
MODES = (STRICT, PERMISSIVE, DISABLE)


def takes(modes: Modes, port: int = 80) -> tuple[bool, bool]:
    """(plain connections, mutual TLS). A port of bytes takes no mutual TLS where it is disabled."""
    mode = modes.of(port)
    return mode is not STRICT, mode is not DISABLE


def is_mutual(modes: Modes, port: int = 80) -> bool:
    """What callers send."""
    return modes.of(port) is not DISABLE


def step(turning: Turning) -> tuple[Modes, Modes]:
    """What the sidecar takes and what callers are told."""
    wanted, turn = turning.resting[WEB], turning.turns.get(WEB)
    return (wanted, wanted) if turn is None else (serving(wanted, turn), turn.calling)


def steps(*wanted: Modes) -> list[tuple[Modes, Modes]]:
    """All steps when each of `wanted` is applied right after the one before, and then there is time."""
    turning = Turning()
    found = []
    for modes in wanted:
        turning = next_turning(turning, {WEB: modes})
        found.append(step(turning))
    while turning.turns:
        turning = advanced(turning)
        found.append(step(turning))
    return found


@pytest.mark.parametrize(("before", "after"), [each for each in product(MODES, MODES) if each[0] is not each[1]])
def test_at_every_step_a_sidecar_takes_what_its_callers_send_and_sent_one_step_before(before: MtlsMode, after: MtlsMode) -> None:
    found = steps(Modes(before), Modes(after))
    assert found[-1] == (Modes(after), Modes(after))
    for (takes_before, sent), (taken, told) in pairwise(found):
        # Told together, some callers hear before the sidecar and some after it.
        for callers, sidecar in product((sent, told), (takes_before, taken)):
            assert takes(sidecar)[is_mutual(callers)]


@pytest.mark.parametrize("acknowledged", list(product((0, 1, 2), repeat=3)))
def test_whoever_changes_his_mind_in_the_middle_loses_nobody(acknowledged: tuple[int, ...]) -> None:
    for wanted in product(MODES, repeat=4):
        _change_minds(wanted, acknowledged)


def _change_minds(wanted: tuple[MtlsMode, ...], acknowledged: tuple[int, ...]) -> None:
    turning = next_turning(Turning(), {WEB: Modes(wanted[0])})
    # By what the sidecar and each of its callers may go at this moment.
    sidecars, callers = ({each} for each in step(turning))

    def tell() -> None:
        taken, told = step(turning)
        sidecars.add(taken)
        callers.add(told)
        for caller, sidecar in product(callers, sidecars):
            assert takes(sidecar)[is_mutual(caller)]

    for mode, steps_made in zip(wanted[1:], acknowledged, strict=True):
        turning = next_turning(turning, {WEB: Modes(mode)})
        tell()
        for _ in range(steps_made):
            # Everybody has acknowledged the step before.
            sidecars, callers = ({each} for each in step(turning))
            turning = advanced(turning)
            tell()


def test_what_changes_nothing_for_callers_holds_at_once() -> None:
    assert steps(Modes(PERMISSIVE), Modes(STRICT)) == [(Modes(PERMISSIVE), Modes(PERMISSIVE)), (Modes(STRICT), Modes(STRICT))]


def test_from_strict_to_disable_there_are_three_steps() -> None:
    assert steps(Modes(STRICT), Modes(DISABLE))[1:] == [
        (Modes(PERMISSIVE), Modes(STRICT)),
        (Modes(PERMISSIVE), Modes(DISABLE)),
        (Modes(DISABLE), Modes(DISABLE)),
    ]


def test_only_the_port_that_changes_is_opened() -> None:
    before, after = Modes(STRICT, ((80, STRICT), (81, STRICT))), Modes(STRICT, ((80, DISABLE), (81, STRICT)))
    (_, (taken, told), *_) = steps(before, after)
    assert [taken.of(port) for port in (80, 81, 82)] == [PERMISSIVE, STRICT, STRICT]
    assert [told.of(port) for port in (80, 81, 82)] == [STRICT] * 3


def test_a_workload_that_is_new_turns_from_nothing_and_one_that_is_gone_is_forgotten() -> None:
    turning = next_turning(Turning(), {WEB: Modes(DISABLE)})
    assert not turning.turns
    turning = next_turning(turning, {WEB: Modes(STRICT)})
    assert turning.turns
    assert next_turning(turning, {}) == Turning()
