"""Keys and tokens for programs: made when they are asked for, shared in a pod, renewed while somebody listens."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from tests.unit.agent.workload_rig import CLAIM, POD, Authority, HandClock, watched

from hauberk.agent.citadel_client import CertificateRefused, CitadelUnreachable
from hauberk.agent.rotation import Rotation
from hauberk.agent.workload_identity import HeldKey, Identities
from hauberk.agent.workload_token import Tokens
from hauberk.identity.trust import Revoked
from hauberk.identity.wire import PodSubject


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come")


async def test_a_key_is_made_for_the_first_who_asks_and_given_to_all_of_the_pod() -> None:
    authority = Authority(HandClock())
    identities = Identities(authority, watched(authority.trust()), clock=authority.clock)
    async with identities.subscribed(CLAIM) as one, identities.subscribed(CLAIM) as other:
        first, second = await one.obtained(), await other.obtained()
    assert first is second and authority.issued == [first.svid.serial]
    key = load_der_private_key(first.key, None)
    assert key.public_key() == first.svid.leaf.public_key()
    await identities.close()


async def test_no_key_is_in_a_repr() -> None:
    authority = Authority(HandClock())
    identities = Identities(authority, watched(authority.trust()), clock=authority.clock)
    async with identities.subscribed(CLAIM) as kept:
        assert "key=" not in repr(await kept.obtained())
    await identities.close()


async def test_who_asks_again_soon_is_given_the_same_and_another_pod_is_not() -> None:
    authority = Authority(HandClock())
    identities = Identities(authority, watched(authority.trust()), clock=authority.clock)
    found: list[HeldKey] = []
    for claim in (CLAIM, CLAIM, replace(CLAIM, subject=PodSubject(namespace="shop", name="web-2", uid="u-2"))):
        async with identities.subscribed(claim) as kept:
            found.append(await kept.obtained())
    assert found[0] is found[1] and found[2].key != found[0].key
    await identities.close()


async def test_what_is_forgotten_is_made_anew() -> None:
    authority = Authority(HandClock())
    identities = Identities(authority, watched(authority.trust()), clock=authority.clock)
    for _ in range(2):
        async with identities.subscribed(CLAIM) as kept:
            await kept.obtained()
        identities.forget(lambda claim: claim.subject == POD)
    assert len(authority.issued) == 2


async def test_what_is_forgotten_while_a_stream_still_ends_goes_with_it() -> None:
    authority = Authority(HandClock())
    identities = Identities(authority, watched(authority.trust()), clock=authority.clock)
    async with identities.subscribed(CLAIM) as kept:
        first = await kept.obtained()
        identities.forget(lambda claim: claim.subject == POD)
    async with identities.subscribed(CLAIM) as kept:
        assert (await kept.obtained()).key != first.key
    await identities.close()


async def test_what_has_ended_is_given_to_nobody() -> None:
    authority = Authority(HandClock())
    identities = Identities(authority, watched(authority.trust()), clock=authority.clock)
    async with identities.subscribed(CLAIM) as kept:
        await kept.obtained()
    authority.clock.at += timedelta(hours=2)
    async with identities.subscribed(CLAIM) as kept:
        assert (await kept.obtained()).svid.not_after > authority.clock.at
    assert len(authority.issued) == 2
    await identities.close()


@pytest.mark.parametrize("refusal", [CertificateRefused("no such pod"), CitadelUnreachable("away")])
async def test_a_refusal_reaches_who_asks_and_is_not_remembered(refusal: Exception) -> None:
    authority = Authority(HandClock(), refusal=refusal)  # type: ignore[arg-type]  # one of the two
    identities = Identities(authority, watched(authority.trust()), clock=authority.clock)
    async with identities.subscribed(CLAIM) as kept:
        with pytest.raises(type(refusal), match=str(refusal)):
            await kept.obtained()
    authority.refusal = None
    async with identities.subscribed(CLAIM) as kept:
        assert await kept.obtained()
    await identities.close()


async def test_after_an_error_the_next_who_asks_has_it_tried_again() -> None:
    authority = Authority(HandClock(), refusal=ValueError("what nobody thought of"))  # type: ignore[arg-type]  # not one of its own
    identities = Identities(authority, watched(authority.trust()), clock=authority.clock)
    async with identities.subscribed(CLAIM):
        await until(lambda: not any(task.get_name().startswith("workload-identity:shop") for task in asyncio.all_tasks()))
        authority.refusal = None
        async with identities.subscribed(CLAIM) as kept:
            assert await kept.obtained()
    await identities.close()


@pytest.mark.parametrize("change", ["renew", "serial"])
async def test_it_is_renewed_when_its_issuer_goes_or_it_is_revoked(change: str) -> None:
    authority = Authority(HandClock())
    trust = watched(authority.trust())
    identities = Identities(authority, trust, clock=authority.clock)
    async with identities.subscribed(CLAIM) as kept:
        first = await kept.obtained()
        # The window in which all renew lies ahead, and the pause after an attempt.
        authority.clock.seconds += 10
        if change == "renew":
            trust.set(authority.trust(2, renew=frozenset({"issuing-1"})))
            authority.clock.at += timedelta(seconds=2)
            identities.clock_was_set()
        else:
            trust.set(authority.trust(2, revoked=Revoked(serials=frozenset({first.svid.serial}))))
        await until(lambda: len(authority.issued) > 1)
        await until(lambda: kept.held is not None and kept.held.svid.serial != first.svid.serial)
    await identities.close()


async def test_it_is_renewed_within_the_window_of_the_whole_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[timedelta] = []
    monkeypatch.setattr(Rotation, "heed", lambda _self, _orders, window: windows.append(window))
    authority = Authority(HandClock())
    trust = watched(authority.trust())
    identities = Identities(authority, trust, clock=authority.clock)
    async with identities.subscribed(CLAIM) as kept:
        await kept.obtained()
        trust.set(authority.trust(2, renew=frozenset({"issuing-1"}), renewal_window=timedelta(seconds=64)))
    assert windows[-1] == timedelta(seconds=64)
    await identities.close()


async def test_what_is_outdated_is_not_given_to_somebody_new() -> None:
    authority = Authority(HandClock())
    trust = watched(authority.trust())
    identities = Identities(authority, trust, clock=authority.clock)
    async with identities.subscribed(CLAIM) as kept:
        first = await kept.obtained()
    trust.set(authority.trust(2, revoked=Revoked(serials=frozenset({first.svid.serial}))))
    async with identities.subscribed(CLAIM) as kept:
        assert (await kept.obtained()).svid.serial != first.svid.serial
    await identities.close()


async def test_citadel_hears_of_what_programs_hold_while_they_listen() -> None:
    authority = Authority(HandClock())
    trust = authority.trust()
    identities = Identities(authority, watched(trust), clock=authority.clock)
    async with identities.subscribed(CLAIM) as kept:
        held = await kept.obtained()
        assert list(identities.holders()) == []
        kept.told["a stream"], kept.told["another"] = trust, None
        (report,) = identities.holders()
        assert (report.holder.serial, report.holder.authority_id, report.trust) == (held.svid.serial, "issuing-1", None)
        kept.told["another"] = newer = authority.trust(2)
        assert next(identities.holders()).trust is trust
        kept.told["a stream"] = newer
        assert next(identities.holders()).trust is newer
    await identities.close()


async def test_a_token_is_given_again_while_half_its_life_is_left() -> None:
    authority = Authority(HandClock())
    tokens = Tokens(authority, watched(authority.trust()), authority.clock)
    first = await tokens.token(POD, ("a",))
    assert await tokens.token(POD, ("a",)) == first
    assert await tokens.token(POD, ("b",)) != first
    authority.clock.at += timedelta(minutes=3)
    assert await tokens.token(POD, ("a",)) != first


async def test_no_token_is_given_again_once_the_trust_has_changed() -> None:
    authority = Authority(HandClock())
    trust = watched(authority.trust())
    tokens = Tokens(authority, trust, authority.clock)
    first = await tokens.token(POD, ("a",))
    trust.set(authority.trust(2, revoked=Revoked(identities=frozenset({"spiffe://cluster.local/ns/shop/sa/web"}))))
    assert await tokens.token(POD, ("a",)) != first


async def test_equal_requests_for_a_token_are_one() -> None:
    authority = Authority(HandClock())
    tokens = Tokens(authority, watched(authority.trust()), authority.clock)
    first, *others = await asyncio.gather(*(tokens.token(POD, ("a",)) for _ in range(50)))
    assert set(others) == {first} and authority.tokens == 1


async def test_however_many_tokens_one_pod_wants_another_waits_for_its_own_only() -> None:
    authority = Authority(HandClock())
    authority.gives_tokens.clear()
    tokens = Tokens(authority, watched(authority.trust()), authority.clock)
    many = [asyncio.ensure_future(tokens.token(POD, (str(number),))) for number in range(50)]
    other = asyncio.ensure_future(tokens.token(replace(POD, uid="u-2"), ("a",)))
    await until(lambda: authority.tokens == 2)
    authority.gives_tokens.set()
    assert await other == "token-2-for-a"
    assert len(set(await asyncio.gather(*many))) == 50


async def test_a_token_that_was_on_its_way_when_the_trust_changed_is_not_given_again() -> None:
    authority = Authority(HandClock())
    authority.gives_tokens.clear()
    trust = watched(authority.trust())
    tokens = Tokens(authority, trust, authority.clock)
    asking = asyncio.ensure_future(tokens.token(POD, ("a",)))
    await until(lambda: authority.tokens == 1)
    trust.set(authority.trust(2))
    authority.gives_tokens.set()
    assert await asking != await tokens.token(POD, ("a",))
