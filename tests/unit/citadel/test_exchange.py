"""One root takes the place of another, each step on proof; whoever is killed in between goes on."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.citadel.rig import NOW, HandClock, PlayedAgent, issue, opened, until_done

from hauberk.citadel.attestation import NobodyRefused
from hauberk.citadel.authority import Citadel
from hauberk.citadel.exchange import ExchangeRefused
from hauberk.citadel.ledger import KEY
from hauberk.citadel.overview import RotationView
from hauberk.citadel.rotation import NotAbortable
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state_progress import Stage
from hauberk.identity.csr import build_csr
from hauberk.identity.event import EventKind
from hauberk.identity.svid import X509Svid


def is_below(svid: X509Svid, root: x509.Certificate) -> bool:
    try:
        svid.chain[1].verify_directly_issued_by(root)
    except (InvalidSignature, ValueError):
        return False
    return True


def roots(citadel: Citadel) -> tuple[x509.Certificate, ...]:
    return citadel.trust.x509_authorities


def rotation(citadel: Citadel) -> RotationView:
    view = citadel.rotation()
    assert view is not None
    return view


def backup(directory: Path) -> bytes:
    return (directory / "ca" / "citadel.db").read_bytes()


def restore(directory: Path, content: bytes) -> None:
    (directory / "ca" / "citadel.db").write_bytes(content)


async def test_a_root_is_distributed_switched_to_and_the_old_one_retired(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        agent = PlayedAgent(citadel)
        before = await agent.start("web-1")
        (a,) = roots(citadel)
        await citadel.rotate_root("root")
        assert a in roots(citadel)
        assert len(roots(citadel)) == 2
        assert (await issue(citadel)).chain[1] == before.chain[1]
        await until_done(citadel, agent)
        (b,) = roots(citadel)
        assert b != a
        assert is_below(await issue(citadel), b)
        assert citadel.ground.keys.ids() - {KEY} == {view.id for view in citadel.overview().authorities}
        assert rotation(citadel).stage is Stage.DONE
        assert [step.state for step in rotation(citadel).steps] == ["done"] * 4


async def test_nothing_is_signed_by_a_root_that_somebody_does_not_trust_yet(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        agent, deaf = PlayedAgent(citadel), PlayedAgent(citadel, node="there", deaf=True)
        await agent.start("web-1")
        await deaf.start("web-2")
        deaf.report(citadel.trust.sequence)
        (a,) = roots(citadel)
        await citadel.rotate_root("root")
        for _ in range(3):
            await agent.obey()
            await citadel.housekeeping.tidy()
        assert is_below(await issue(citadel), a)
        assert rotation(citadel).waiting_for == ("node there: its agent has not confirmed",)
        deaf.deaf = False
        await until_done(citadel, agent, deaf)


async def test_a_machine_that_went_away_is_named_and_not_waited_for_longer_than_its_certificates_live(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        gone = PlayedAgent(citadel, node="there")
        await gone.start("web-2")
        gone.leave()
        await citadel.rotate_root("root")
        await citadel.housekeeping.tidy()
        assert "node there: its agent is not connected" in rotation(citadel).waiting_for[0]
        clock.pass_by(timedelta(hours=25))
        await until_done(citadel)


async def test_nobody_waits_for_a_machine_that_is_banned(tmp_path: Path) -> None:
    class Banned(NobodyRefused):
        def banned(self, node: str) -> bool:
            return node == "there"

    with opened(tmp_path) as citadel:
        deaf = PlayedAgent(citadel, node="there", deaf=True)
        await deaf.start("web-2")
        citadel.heed(Banned())
        await citadel.rotate_root("root")
        await until_done(citadel)


async def test_a_certificate_outside_of_the_mesh_keeps_the_old_root_trusted_until_it_expires(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        csr = build_csr(ec.generate_private_key(ec.SECP256R1()))
        issued = await citadel.issue_outside(csr, namespace="shop", service_account="batch", lifetime=timedelta(hours=1), by="root")
        await citadel.rotate_root("root")
        await citadel.housekeeping.tidy()
        assert rotation(citadel).stage is Stage.RENEW
        assert issued.row.serial in rotation(citadel).waiting_for[0]
        assert len(roots(citadel)) == 2
        clock.pass_by(timedelta(hours=2))
        await until_done(citadel)


async def test_only_one_exchange_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        await citadel.rotate_root("root")
        with pytest.raises(ExchangeRefused, match="already"):
            await citadel.rotate_root("root")


@pytest.mark.parametrize("rounds", [0, 1])
async def test_an_exchange_goes_back_safely(tmp_path: Path, rounds: int) -> None:
    with opened(tmp_path) as citadel:
        agent = PlayedAgent(citadel)
        await agent.start("web-1")
        (a,) = roots(citadel)
        await citadel.rotate_root("root")
        for _ in range(rounds):
            await agent.obey()
            await citadel.housekeeping.tidy()
        assert rotation(citadel).stage is (Stage.RENEW if rounds else Stage.DISTRIBUTE)
        if rounds:
            await agent.obey()
        await citadel.abort_rotation("root")
        assert (rotation(citadel).aborting, rotation(citadel).abortable) == (True, False)
        await until_done(citadel, agent)
        assert roots(citadel) == (a,)
        assert is_below(await agent.start("web-2"), a)
        assert citadel.ground.keys.ids() - {KEY} == {view.id for view in citadel.overview().authorities}


async def test_when_the_old_root_is_withdrawn_there_is_no_way_back(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        await citadel.rotate_root("root")
        await until_done(citadel)
        with pytest.raises(NotAbortable):
            await citadel.abort_rotation("root")


async def test_whoever_is_stopped_between_any_two_steps_goes_on(tmp_path: Path) -> None:
    stages: list[Stage] = []
    with opened(tmp_path) as citadel:
        agent = PlayedAgent(citadel)
        await agent.start("web-1")
        await citadel.rotate_root("root")
        held = agent.holders
    for _ in range(10):
        with opened(tmp_path) as citadel:
            agent = PlayedAgent(citadel, holders=held)
            if rotation(citadel).stage is Stage.DONE:
                break
            stages.append(rotation(citadel).stage)
            # What was confirmed to the one before is asked for again.
            assert await citadel.exchange.advance() is False
            await agent.obey()
            assert await citadel.exchange.advance() is True
            held = agent.holders
    assert stages == [Stage.DISTRIBUTE, Stage.RENEW, Stage.CONFIRM]


async def test_a_certificate_of_the_old_root_that_was_being_written_down_is_not_given_away(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        (a,) = roots(citadel)
        await citadel.rotate_root("root")
        agent = PlayedAgent(citadel)
        await agent.obey()
        record = citadel.issuer._record

        async def slow(*arguments: object) -> None:
            await record(*arguments)  # type: ignore[arg-type] # passed on
            await citadel.exchange.advance()

        citadel.issuer._record = slow  # type: ignore[assignment] # the moment that matters
        svid = await issue(citadel)
        assert not is_below(svid, a)
        await until_done(citadel, agent)


async def test_a_backup_from_before_the_exchange_leads_the_newer_root_out_again(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        await PlayedAgent(citadel).start("web-1")
        (a,) = roots(citadel)
    before = backup(tmp_path)
    with opened(tmp_path, clock) as citadel:
        agent = PlayedAgent(citadel)
        await citadel.rotate_root("root")
        await agent.start("web-1")
        await agent.obey()
        await citadel.housekeeping.tidy()
        await agent.obey()
        held = agent.holders
        assert rotation(citadel).stage is Stage.RENEW
    restore(tmp_path, before)
    clock.pass_by(timedelta(seconds=1))
    with opened(tmp_path, clock) as citadel:
        assert len(roots(citadel)) == 2
        agent = PlayedAgent(citadel, holders=held)
        await until_done(citadel, agent)
        assert roots(citadel) == (a,)


async def test_a_backup_from_before_the_old_root_was_destroyed_goes_on_with_the_new_one(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock):
        pass
    before = backup(tmp_path)
    with opened(tmp_path, clock) as citadel:
        await citadel.rotate_root("root")
        await until_done(citadel)
        (b,) = roots(citadel)
    restore(tmp_path, before)
    clock.pass_by(timedelta(seconds=1))
    with opened(tmp_path, clock) as citadel:
        assert b in roots(citadel)
        assert is_below(await issue(citadel), b)
        clock.pass_by(timedelta(days=2))
        await until_done(citadel)
        assert roots(citadel) == (b,)


async def test_a_backup_from_within_an_exchange_that_was_aborted_later_stays_with_the_old_root(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        (a,) = roots(citadel)
        await PlayedAgent(citadel).start("web-1")
        await citadel.rotate_root("root")
    before = backup(tmp_path)
    with opened(tmp_path, clock) as citadel:
        agent = PlayedAgent(citadel)
        await agent.start("web-1")
        await citadel.abort_rotation("root")
        await until_done(citadel, agent)
    restore(tmp_path, before)
    clock.pass_by(timedelta(days=2))
    with opened(tmp_path, clock) as citadel:
        assert is_below(await issue(citadel), a)
        await until_done(citadel, PlayedAgent(citadel))
        assert roots(citadel) == (a,)


async def test_a_root_that_nears_its_end_is_exchanged_by_itself(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock, CitadelSettings(root_lifetime=timedelta(days=100))) as citadel:
        await citadel.housekeeping.tidy()
        assert citadel.rotation() is None
        clock.pass_by(timedelta(days=81))
        await citadel.housekeeping.tidy()
        await until_done(citadel)
        assert roots(citadel)[0].not_valid_after_utc == NOW + timedelta(days=181)


async def test_every_step_is_on_record(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        await citadel.rotate_root("anna")
        await until_done(citadel)
    text = (tmp_path / "audit" / "records" / "000000000000.jsonl").read_text()
    kinds = [kind for kind in EventKind if f'"{kind.value}"' in text]
    assert set(kinds) == {
        EventKind.ROTATION_STEP,
        EventKind.AUTHORITY_PREPARED,
        EventKind.AUTHORITY_ACTIVATED,
        EventKind.AUTHORITY_OLD,
        EventKind.AUTHORITY_RETIRED,
    }
    assert '"by":"anna"' in text


async def test_where_proxies_have_revocation_lists_a_new_issuing_key_waits_for_its_own(tmp_path: Path) -> None:
    class Lists(NobodyRefused):
        in_force = True

        def crls(self, rows: object) -> tuple[bytes, ...]:
            return tuple(row.id.encode() for row in rows if row.kind == "issuing" and row.slot != "retired")  # type: ignore[attr-defined]

    with opened(tmp_path) as citadel:
        agent = PlayedAgent(citadel)
        before = await agent.start("web-1")
        agent.report(citadel.trust.sequence)
        citadel.heed(Lists())
        made = await citadel.rotate("root")
        assert made.id.encode() in citadel.trust.crls
        await citadel.housekeeping.tidy()
        assert (await issue(citadel)).chain[1] == before.chain[1]
        (problem,) = citadel.overview().problems
        assert problem == f"{made.id} waits for node here: its agent has not confirmed to have the new issuing key's revocation list"
        await agent.obey()
        await citadel.housekeeping.tidy()
        assert (await issue(citadel)).chain[1] != before.chain[1]


def test_a_view_of_no_exchange_is_none(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        assert citadel.rotation() is None
        assert citadel.overview().rotation is None
