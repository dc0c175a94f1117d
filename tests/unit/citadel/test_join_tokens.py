"""Join tokens: once, in time, for their node, and of the secret nothing in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hauberk.citadel.join_tokens import MOST_MISSES, JoinRefused, JoinTokens
from hauberk.citadel.state import State, StateUnusable
from hauberk.citadel.state_join_tokens import JOIN_TOKENS

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "citadel.db", (JOIN_TOKENS,))
    yield opened
    opened.close()


async def test_a_token_lets_its_node_in(state: State) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW, 10 * MINUTE)
    assert (await tokens.consume(made.text, "n2", NOW + 9 * MINUTE)).node == "n2"


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_token_is_good_once_also_after_a_restart(state: State, *, reopened: bool) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW)
    await tokens.consume(made.text, "n2", NOW)
    with pytest.raises(JoinRefused, match="used already, at 2026-07-01 12:00:00"):
        await (JoinTokens.open(state) if reopened else tokens).consume(made.text, "n2", NOW)


async def test_of_two_machines_that_use_a_token_at_once_one_is_let_in(state: State) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW)
    results = await asyncio.gather(*(tokens.consume(made.text, "n2", NOW) for _ in range(5)), return_exceptions=True)
    assert sum(not isinstance(each, JoinRefused) for each in results) == 1


async def test_who_hangs_up_while_a_token_is_used_has_used_it(state: State) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW)
    using = asyncio.create_task(tokens.consume(made.text, "n2", NOW))
    await asyncio.sleep(0)
    using.cancel()
    await asyncio.gather(using, return_exceptions=True)
    with pytest.raises(JoinRefused, match="used already"):
        await tokens.consume(made.text, "n2", NOW)


async def test_a_token_expires(state: State) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW, MINUTE)
    with pytest.raises(JoinRefused, match="expired at 2026-07-01 12:01:00"):
        await tokens.consume(made.text, "n2", NOW + MINUTE)


async def test_a_token_for_another_node_lets_nobody_in_and_stays_good(state: State) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW)
    with pytest.raises(JoinRefused, match="another node than 'n3'"):
        await tokens.consume(made.text, "n3", NOW)
    assert await tokens.consume(made.text, "n2", NOW)


async def test_a_tampered_token_is_refused_without_a_word_about_why(state: State) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW)
    flipped = made.text[:-1] + ("A" if made.text[-1] != "A" else "B")
    for text in (flipped, made.id, f"{made.id}.", "", ".", "0" * 16 + made.text[16:], made.text + "x", made.text.upper(), "\udcff.\udcff"):
        with pytest.raises(JoinRefused) as refused:
            await tokens.consume(text, "n2", NOW)
        assert str(refused.value) == "the join token is not valid"


async def test_whoever_guesses_a_secret_makes_the_token_good_for_nothing(state: State) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW)
    for _ in range(MOST_MISSES):
        with pytest.raises(JoinRefused):
            await tokens.consume(f"{made.id}.guess", "n2", NOW)
    for each in (tokens, JoinTokens.open(state)):
        with pytest.raises(JoinRefused, match="not valid"):
            await each.consume(made.text, "n2", NOW)
        assert each.outstanding(NOW) == ()


async def test_a_newer_token_for_a_node_ends_the_older(state: State) -> None:
    tokens = JoinTokens.open(state)
    older = await tokens.create("n2", NOW)
    newer = await tokens.create("n2", NOW)
    with pytest.raises(JoinRefused, match="not valid"):
        await tokens.consume(older.text, "n2", NOW)
    assert await tokens.consume(newer.text, "n2", NOW)


@pytest.mark.parametrize("life", [timedelta(0), -MINUTE, timedelta(days=2)])
async def test_a_life_that_is_none_or_too_long_is_refused(state: State, life: timedelta) -> None:
    with pytest.raises(ValueError, match="lives between"):
        await JoinTokens.open(state).create("n2", NOW, life)


async def test_the_secret_is_neither_in_the_database_nor_in_what_is_printed(state: State) -> None:
    made = await JoinTokens.open(state).create("n2", NOW)
    secret = made.text.partition(".")[2]
    files = b"".join(path.read_bytes() for path in state.path.parent.glob("citadel.db*"))
    assert secret.encode() not in files
    assert secret not in repr(made)


async def test_a_token_that_cannot_be_marked_as_used_lets_nobody_in(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = JoinTokens.open(state)
    made = await tokens.create("n2", NOW)

    async def fail(*_: object) -> None:
        raise StateUnusable(state.path, "the disk is full", "free some space")

    with monkeypatch.context() as broken:
        broken.setattr(state, "write", fail)
        with pytest.raises(StateUnusable):
            await tokens.consume(made.text, "n2", NOW)
    assert await tokens.consume(made.text, "n2", NOW)
