"""Tokens: for whom was attested, for somebody, for minutes; and the keys that sign them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.citadel.rig import CALLER, NOW, POD, HandClock, PlayedAgent, opened

from hauberk.citadel.attestation import AttestationRefused
from hauberk.citadel.authority import Citadel
from hauberk.citadel.federation import Profile
from hauberk.citadel.federation_settings import FederationSettings, Listen
from hauberk.citadel.jwt_authority import SUBJECT_BURST, JwtAuthority
from hauberk.citadel.jwt_settings import JwtSettings
from hauberk.citadel.rate_limit import TooMany
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state import Row, State, Value
from hauberk.citadel.state_authorities import Kind, Slot
from hauberk.identity.jwt_svid import InvalidJwtSvid, JwtSvid, validate
from hauberk.identity.wire import AgentSubject, InvalidMessage, PodSubject, TokenReply, TokenRequest

LISTEN = Listen(host="", port=8443, profile=Profile.SPIFFE)
LATER = timedelta(days=31)  # half the life of a key, and a day


@contextmanager
def signing(
    directory: Path, clock: HandClock | None = None, settings: JwtSettings | None = None, citadel_settings: CitadelSettings | None = None
) -> Iterator[tuple[Citadel, JwtAuthority]]:
    with opened(directory, clock, citadel_settings) as citadel:
        yield citadel, JwtAuthority.open(citadel, settings or JwtSettings())


def request(*audience: str, subject: PodSubject | AgentSubject = POD, lifetime: timedelta | None = None) -> TokenRequest:
    return TokenRequest(subject=subject, audience=audience or ("api",), lifetime=lifetime)


def judged(citadel: Citadel, reply: TokenReply, audience: str = "api") -> JwtSvid:
    keys = citadel.trust.jwt_keys
    now = citadel.ground.clock.now()
    return validate(reply.token, audience=audience, keys_of=lambda domain: keys if domain == citadel.trust_domain else None, now=now)


def slots(citadel: Citadel) -> list[Slot]:
    return [row.slot for row in citadel.authorities.rows if row.kind is Kind.JWT]


def ledger(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "audit" / "records" / "000000000000.jsonl").read_text().splitlines()]


async def test_a_token_says_who_was_attested_and_is_believed_by_the_trust(tmp_path: Path) -> None:
    with signing(tmp_path) as (citadel, tokens):
        reply = await tokens.issue_token(request("api", "db"), CALLER)
        svid = judged(citadel, reply, "db")
    assert str(svid.spiffe_id) == "spiffe://cluster.local/ns/shop/sa/web"
    assert (svid.audience, svid.expires, reply.expires) == (("api", "db"), NOW + timedelta(minutes=5), NOW + timedelta(minutes=5))
    assert "iss" not in svid.claims


async def test_a_token_names_the_issuer_that_was_set(tmp_path: Path) -> None:
    with signing(tmp_path, settings=JwtSettings(issuer="https://oidc.example.org")) as (citadel, tokens):
        assert judged(citadel, await tokens.issue_token(request(), CALLER)).claims["iss"] == "https://oidc.example.org"


async def test_no_two_tokens_are_the_same(tmp_path: Path) -> None:
    with signing(tmp_path) as (citadel, tokens):
        replies = [judged(citadel, await tokens.issue_token(request(), CALLER)).claims["jti"] for _ in range(20)]
    assert len(set(replies)) == 20


async def test_every_token_and_every_refusal_is_an_event_without_the_token(tmp_path: Path) -> None:
    with signing(tmp_path) as (_, tokens):
        reply = await tokens.issue_token(request(), CALLER)
        with pytest.raises(AttestationRefused):
            await tokens.issue_token(request(subject=PodSubject(namespace="other", name="x", uid="u")), CALLER)
        events = [event for event in ledger(tmp_path) if str(event["kind"]).startswith("token")]
    assert [event["kind"] for event in events] == ["token-issued", "token-refused"]
    assert reply.token not in (tmp_path / "audit" / "records" / "000000000000.jsonl").read_text()
    assert reply.token not in repr(reply)


@pytest.mark.parametrize(
    "asked",
    [
        TokenRequest(subject=POD, audience=()),
        TokenRequest(subject=POD, audience=("api", "")),
        TokenRequest(subject=POD, audience=("a",) * 33),
        TokenRequest(subject=POD, audience=("a" * 1025,)),
        request(lifetime=timedelta()),
        request(lifetime=timedelta(seconds=-1)),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(tmp_path: Path, asked: TokenRequest) -> None:
    with signing(tmp_path) as (_, tokens), pytest.raises(InvalidMessage):
        await tokens.issue_token(asked, CALLER)


async def test_an_agent_has_no_tokens(tmp_path: Path) -> None:
    with signing(tmp_path) as (_, tokens), pytest.raises(AttestationRefused, match="agent"):
        await tokens.issue_token(request(subject=AgentSubject()), CALLER)


async def test_a_token_lives_as_long_as_is_asked_but_not_for_a_hundred_years(tmp_path: Path) -> None:
    with signing(tmp_path) as (_, tokens):
        assert (await tokens.issue_token(request(lifetime=timedelta(seconds=30)), CALLER)).expires == NOW + timedelta(seconds=30)
        assert (await tokens.issue_token(request(lifetime=timedelta(days=36500)), CALLER)).expires == NOW + timedelta(hours=1)


async def test_who_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    with signing(tmp_path, citadel_settings=CitadelSettings(issue_burst=3)) as (_, tokens):
        for _ in range(3):
            await tokens.issue_token(request(), CALLER)
        with pytest.raises(TooMany):
            await tokens.issue_token(request(), CALLER)


async def test_one_pod_that_asks_too_often_is_not_at_the_expense_of_its_machines_others(tmp_path: Path) -> None:
    with signing(tmp_path, citadel_settings=CitadelSettings(issue_burst=SUBJECT_BURST + 1)) as (_, tokens):
        for _ in range(SUBJECT_BURST):
            await tokens.issue_token(request(), CALLER)
        for _ in range(10):
            with pytest.raises(TooMany):
                await tokens.issue_token(request(), CALLER)
        assert await tokens.issue_token(request(subject=PodSubject(namespace="shop", name="web-2", uid="u-2")), CALLER)


async def test_tokens_are_believed_after_a_restart(tmp_path: Path) -> None:
    with signing(tmp_path) as (_, tokens):
        reply = await tokens.issue_token(request(), CALLER)
    with signing(tmp_path) as (citadel, _):
        assert judged(citadel, reply)


async def test_the_next_key_is_published_before_it_signs_and_the_last_one_until_its_tokens_have_ended(tmp_path: Path) -> None:
    clock = HandClock()
    with signing(tmp_path, clock) as (citadel, tokens):
        agent = PlayedAgent(citadel)
        clock.pass_by(LATER)
        await agent.obey()
        await tokens.tend()
        assert slots(citadel) == [Slot.ACTIVE, Slot.PREPARED]
        assert len(citadel.trust.jwt_keys) == 2
        # Everybody has it, and still those outside may not.
        await agent.obey()
        await tokens.tend()
        assert slots(citadel) == [Slot.ACTIVE, Slot.PREPARED]
        last = await tokens.issue_token(request(lifetime=timedelta(hours=1)), CALLER)
        clock.pass_by(timedelta(minutes=26))
        await tokens.tend()
        assert slots(citadel) == [Slot.OLD, Slot.ACTIVE]
        assert judged(citadel, last).key_id != judged(citadel, await tokens.issue_token(request(), CALLER)).key_id
        clock.pass_by(timedelta(minutes=62))
        await tokens.tend()
        assert slots(citadel) == [Slot.RETIRED, Slot.ACTIVE]
        retired = next(row for row in citadel.authorities.rows if row.slot is Slot.RETIRED)
        assert not citadel.authorities.has_key(retired.id)
        assert len(citadel.trust.jwt_keys) == 1
        agent.leave()


@pytest.mark.parametrize(
    ("listen", "refresh", "ahead"),
    [
        ((), timedelta(hours=1), timedelta(minutes=25)),
        ((LISTEN,), timedelta(minutes=5), timedelta(minutes=25)),
        ((LISTEN,), timedelta(hours=1), timedelta(hours=3)),
    ],
)
async def test_a_key_does_not_sign_before_readers_of_the_bundle_had_their_chances(
    tmp_path: Path, listen: tuple[Listen, ...], refresh: timedelta, ahead: timedelta
) -> None:
    clock, instant = HandClock(), timedelta(seconds=1)
    settings = CitadelSettings(federation=FederationSettings(listen=listen, refresh=refresh))
    with signing(tmp_path, clock, citadel_settings=settings) as (citadel, tokens):
        await tokens.rotate("a test")
        clock.pass_by(ahead - instant)
        await tokens.tend()
        assert slots(citadel) == [Slot.ACTIVE, Slot.PREPARED]
        clock.pass_by(instant)
        await tokens.tend()
        assert slots(citadel) == [Slot.OLD, Slot.ACTIVE]


async def test_while_nothing_is_prepared_the_database_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    rows = State.rows

    def counted(self: State, sql: str, *parameters: Value) -> list[Row]:
        asked.append(sql)
        return rows(self, sql, *parameters)

    with signing(tmp_path) as (_, tokens):
        monkeypatch.setattr(State, "rows", counted)
        await tokens.tend()
        assert asked == []
        await tokens.rotate("a test")
        await tokens.tend()
        assert asked != []


async def test_a_key_does_not_sign_before_every_agent_has_it(tmp_path: Path) -> None:
    clock = HandClock()
    with signing(tmp_path, clock) as (citadel, tokens):
        slow = PlayedAgent(citadel, "slow", deaf=True)
        slow.report(0)
        await tokens.rotate("a test")
        clock.pass_by(timedelta(days=1))
        await tokens.tend()
        assert slots(citadel) == [Slot.ACTIVE, Slot.PREPARED]
        slow.report(citadel.trust.sequence)
        await tokens.tend()
        assert slots(citadel) == [Slot.OLD, Slot.ACTIVE]
        slow.leave()


async def test_a_machine_whose_certificates_live_is_waited_for_though_it_is_not_connected(tmp_path: Path) -> None:
    clock = HandClock()
    with signing(tmp_path, clock) as (citadel, tokens):
        agent = PlayedAgent(citadel)
        await agent.start("web-1")
        agent.leave()
        await tokens.rotate("a test")
        clock.pass_by(timedelta(hours=1))
        await tokens.tend()
        assert slots(citadel) == [Slot.ACTIVE, Slot.PREPARED]
        clock.pass_by(timedelta(days=2))
        await tokens.tend()
        assert slots(citadel) == [Slot.OLD, Slot.ACTIVE] or slots(citadel) == [Slot.RETIRED, Slot.ACTIVE]


async def test_a_rotation_that_is_asked_for_twice_is_one(tmp_path: Path) -> None:
    with signing(tmp_path) as (citadel, tokens):
        assert await tokens.rotate("a test") == await tokens.rotate("a test")
        assert slots(citadel) == [Slot.ACTIVE, Slot.PREPARED]


async def test_a_lost_key_is_replaced_and_what_it_signed_is_believed_to_its_end(tmp_path: Path) -> None:
    with signing(tmp_path) as (citadel, tokens):
        reply = await tokens.issue_token(request(), CALLER)
        lost = next(row for row in citadel.authorities.rows if row.kind is Kind.JWT)
        citadel.ground.keys.destroy(lost.id)
    with signing(tmp_path) as (citadel, tokens):
        assert slots(citadel) == [Slot.OLD, Slot.ACTIVE]
        assert judged(citadel, reply)
        assert judged(citadel, await tokens.issue_token(request(), CALLER)).key_id != lost.id


async def test_a_token_by_a_retired_key_is_not_believed(tmp_path: Path) -> None:
    with signing(tmp_path) as (citadel, tokens):
        reply = await tokens.issue_token(request(), CALLER)
        (row,) = [row for row in citadel.authorities.rows if row.kind is Kind.JWT]
        await tokens._change((replace(row, slot=Slot.RETIRED),), "a test")
        with pytest.raises(InvalidJwtSvid):
            judged(citadel, reply)


async def test_no_private_part_of_a_key_is_published(tmp_path: Path) -> None:
    with signing(tmp_path) as (citadel, _):
        (key,) = citadel.trust.jwt_keys
        assert set(json.loads(key.jwk)) == {"kty", "crv", "x", "y", "use", "kid", "alg"}
