"""Revocations: what is refused, what is published and signed, what is remembered, and what is taken back."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.citadel.rig import CALLER, NOW, POD, HandClock, PlayedAgent, issue, opened, row_of, until_done

from hauberk.citadel import revocation
from hauberk.citadel.attestation import AttestationRefused
from hauberk.citadel.authorities import certificate_of
from hauberk.citadel.authority import Citadel
from hauberk.citadel.ledger import KEY
from hauberk.citadel.revocation import NotRevoked, Revocations, Target
from hauberk.citadel.state import State, StateUnusable, Write
from hauberk.citadel.state_authorities import Slot
from hauberk.citadel.state_revocations import What
from hauberk.identity.svid import X509Svid
from hauberk.identity.wire import PodSubject

IDENTITY = "spiffe://cluster.local/ns/shop/sa/web"
OTHER = PodSubject(namespace="shop", name="web-2", uid="u-2")
BY_POD = Target(what=What.POD, value=POD.uid, name="shop/web-1")
BY_IDENTITY = Target(what=What.IDENTITY, value=IDENTITY, name=IDENTITY)
BY = "uid 1000"


@dataclass
class Opened:
    citadel: Citadel
    revocations: Revocations

    def listed(self) -> set[str]:
        """Serials on any list that proxies are given; each list is signed by the authority that it names."""
        issuers = {certificate_of(row).subject: certificate_of(row) for row in self.citadel.authorities.rows}
        found: set[str] = set()
        for crl in map(x509.load_der_x509_crl, self.citadel.trust.crls):
            key = issuers[crl.issuer].public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            assert crl.is_signature_valid(key)
            found |= {f"{each.serial_number:032x}" for each in crl}
        return found


@contextmanager
def revoking(directory: Path, clock: HandClock | None = None) -> Iterator[Opened]:
    with opened(directory, clock) as citadel:
        revocations = Revocations(citadel.ground, citadel.authorities)
        citadel.heed(revocations)
        yield Opened(citadel, revocations)


def by_serial(svid: X509Svid) -> Target:
    return Target(what=What.SERIAL, value=svid.serial, name=svid.serial)


async def test_a_revoked_pod_gets_no_certificate_and_hears_why_while_its_neighbour_does(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        await issue(made.citadel)
        await made.revocations.revoke(BY_POD, by=BY, reason="key leaked")
        with pytest.raises(AttestationRefused, match=r"pod shop/web-1 was revoked .* key leaked"):
            await issue(made.citadel)
        assert (await issue(made.citadel, OTHER)).spiffe_id


async def test_a_revoked_identity_is_issued_to_nobody(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        await made.revocations.revoke(BY_IDENTITY, by=BY)
        for subject in (POD, OTHER):
            with pytest.raises(AttestationRefused, match=IDENTITY):
                await issue(made.citadel, subject)


async def test_a_pod_whose_certificate_was_revoked_gets_another(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        first = await issue(made.citadel)
        await made.revocations.revoke(by_serial(first), by=BY)
        second = await issue(made.citadel)
        assert made.listed() == {first.serial}
        assert second.serial != first.serial


async def test_what_was_being_issued_while_its_holder_was_revoked_is_refused_or_listed(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        issuing = [issue(made.citadel) for _ in range(20)]
        *issued, _ = await asyncio.gather(*issuing, made.revocations.revoke(BY_POD, by=BY), return_exceptions=True)
        given = {each.serial for each in issued if isinstance(each, X509Svid)}
        assert given <= made.listed()
        assert all(isinstance(each, X509Svid | AttestationRefused) for each in issued)


async def test_agents_are_told_of_every_living_certificate_of_what_is_revoked_and_who_holds_it(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        first, second = await issue(made.citadel), await issue(made.citadel, OTHER)
        before = made.citadel.trust.sequence
        done = await made.revocations.revoke(BY_IDENTITY, by=BY)
        revoked = made.citadel.trust.revoked
        assert revoked.serials == {first.serial, second.serial} == made.listed()
        assert revoked.identities == {IDENTITY}
        assert revoked.holders == {(first.serial, POD.uid), (second.serial, OTHER.uid)}
        assert {row.serial for row in done.certificates} == revoked.serials
        assert done.sequence == made.citadel.trust.sequence > before


async def test_a_certificate_that_no_pod_holds_is_held_outside(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        unknown = "f" * 32
        await made.revocations.revoke(Target(what=What.SERIAL, value=unknown, name=unknown), by=BY)
        assert made.citadel.trust.revoked.holders == {(unknown, "")}
        assert made.listed() == {unknown}


async def test_without_revocations_there_are_no_lists(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        await issue(made.citadel)
        assert made.citadel.trust.crls == ()
        assert not made.revocations.in_force


async def test_lists_are_valid_as_long_as_their_issuers(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        await made.revocations.revoke(by_serial(await issue(made.citadel)), by=BY)
        (crl,) = map(x509.load_der_x509_crl, made.citadel.trust.crls)
        issuer = made.citadel.authorities.issuing.certificate
        assert (crl.last_update_utc, crl.next_update_utc) == (issuer.not_valid_before_utc, issuer.not_valid_after_utc)


async def test_a_reopened_authority_has_forgotten_nothing(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        first = await issue(made.citadel)
        await made.revocations.revoke(BY_POD, by=BY, reason="why not")
        told = made.citadel.trust.revoked
    with revoking(tmp_path) as again:
        assert again.citadel.trust.revoked == told
        assert again.listed() == {first.serial}
        assert [row.reason for row in again.revocations.all] == ["why not"]
        with pytest.raises(AttestationRefused):
            await issue(again.citadel)


async def test_undone_it_is_believed_again_with_the_certificates_it_had(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        first = await issue(made.citadel)
        await made.revocations.revoke(BY_POD, by=BY)
        assert row_of(made.citadel, first).revoked_at == NOW
        await made.revocations.undo(BY_POD, by=BY)
        assert made.citadel.trust.revoked.serials == frozenset()
        assert made.citadel.trust.crls == ()
        assert row_of(made.citadel, first).revoked_at is None
        assert await issue(made.citadel)
        with pytest.raises(NotRevoked):
            await made.revocations.undo(BY_POD, by=BY)


async def test_what_is_revoked_twice_over_stays_revoked_when_one_is_undone(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        first = await issue(made.citadel)
        await made.revocations.revoke(BY_POD, by=BY)
        await made.revocations.revoke(by_serial(first), by=BY)
        await made.revocations.undo(BY_POD, by=BY)
        assert made.listed() == {first.serial}
        assert row_of(made.citadel, first).revoked_at is not None


async def test_many_are_revoked_by_one_trust(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        svids = [await issue(made.citadel) for _ in range(50)]
        known = await made.revocations.revoke(by_serial(svids[0]), by=BY, reason="first")
        told: list[int] = []

        async def listen() -> None:
            async for trust in made.citadel.changes():
                told.append(trust.sequence)

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        done = await made.revocations.revoke_all([by_serial(each) for each in svids], by="ban", reason="all")
        await asyncio.sleep(0)
        listening.cancel()
        assert len(told) == 2
        assert made.listed() == {each.serial for each in svids}
        assert done[0].row == known.row
        assert {each.row.reason for each in done[1:]} == {"all"}
        assert [each.certificates[0].serial for each in done] == [each.serial for each in svids]


async def test_revoking_again_changes_nothing(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        first = await made.revocations.revoke(BY_POD, by=BY, reason="first")
        second = await made.revocations.revoke(BY_POD, by="uid 0", reason="second")
        assert second.row == first.row
        assert second.sequence == first.sequence


async def test_what_has_expired_is_listed_and_remembered_no_longer(tmp_path: Path) -> None:
    clock = HandClock()
    with revoking(tmp_path, clock) as made:
        first = await issue(made.citadel, lifetime=timedelta(minutes=10))
        await made.revocations.revoke(by_serial(first), by=BY)
        clock.pass_by(timedelta(minutes=30))
        await made.revocations.review()
        assert made.listed() == {first.serial}, "a peer whose clock is behind may still take it for valid"
        clock.pass_by(timedelta(hours=1))
        await made.revocations.review()
        assert made.citadel.trust.crls == ()
        assert made.revocations.all != ()
        clock.pass_by(timedelta(days=1))
        await made.revocations.review()
        assert made.revocations.all == ()


async def test_a_clock_that_leaps_for_days_and_back_costs_no_living_row(tmp_path: Path) -> None:
    clock = HandClock()
    with revoking(tmp_path, clock) as made:
        first, second = await issue(made.citadel), await issue(made.citadel, OTHER)
        await made.revocations.revoke(by_serial(first), by=BY)
        await made.citadel.housekeeping.tidy()
        await made.revocations.review()
        clock.at += timedelta(days=3)
        await made.citadel.housekeeping.tidy()
        await made.revocations.review()
        clock.at -= timedelta(days=3)
        assert made.listed() == {first.serial}
        assert [row.value for row in made.revocations.all] == [first.serial]
        pod = await made.revocations.revoke(Target(what=What.POD, value=OTHER.uid, name="shop/web-2"), by=BY)
        assert [row.serial for row in pod.certificates] == [second.serial]


async def test_the_ledger_says_by_whom_and_why_and_which_certificates(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        first = await issue(made.citadel)
        await made.revocations.revoke(BY_POD, by=BY, reason="key leaked")
        await made.revocations.undo(BY_POD, by="uid 0")
    lines = [json.loads(line) for line in (tmp_path / "audit" / "records" / "000000000000.jsonl").read_text().splitlines()]
    events = [line for line in lines if line["kind"].startswith("revo")]
    assert [(each["kind"], each["by"]) for each in events] == [("revoked", BY), ("revocation-lifted", "uid 0")]
    assert events[0]["evidence"]["reason"] == "key leaked"
    assert events[0]["evidence"]["serials"] == [first.serial]
    assert events[0]["evidence"]["holders"] == ["pod shop/web-1 u-1"]


async def test_a_new_issuing_key_signs_only_when_all_have_its_list(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        agent = PlayedAgent(made.citadel)
        await agent.obey()
        await made.revocations.revoke(by_serial(await issue(made.citadel)), by=BY)
        await made.citadel.rotate(BY)
        assert (await issue(made.citadel)).chain[1] != certificate_of(made.citadel.authorities.rows[-1])
        assert len(made.citadel.trust.crls) == 2
        for _ in range(3):
            await agent.obey()
            await made.citadel.housekeeping.tidy()
        assert (await issue(made.citadel)).chain[1] == certificate_of(made.citadel.authorities.rows[-1])
        agent.leave()


async def test_rotating_again_while_the_new_issuing_key_waits_makes_no_other(tmp_path: Path) -> None:
    clock = HandClock()
    with revoking(tmp_path, clock) as made:
        agent = PlayedAgent(made.citadel)
        await made.revocations.revoke(by_serial(await issue(made.citadel)), by=BY)
        first = await made.citadel.rotate(BY)
        assert first.slot is Slot.PREPARED
        clock.pass_by(timedelta(seconds=1))
        assert await made.citadel.rotate(BY) == first
        assert len(made.citadel.ground.keys.ids() - {KEY}) == 3
        for _ in range(5):
            await agent.obey()
            await made.citadel.housekeeping.tidy()
        assert made.citadel.authorities.issuing.id == first.id
        agent.leave()


async def test_an_exchange_of_the_root_brings_lists_of_both_and_does_not_wait_for_the_revoked(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        agent = PlayedAgent(made.citadel)
        leaving = await agent.start("leaving")
        await agent.start("staying")
        pod = Target(what=What.POD, value="uid-leaving", name="shop/leaving")
        await made.revocations.revoke(pod, by=BY)
        stubborn = agent.holders["leaving"]
        await made.citadel.rotate_root(BY)
        assert made.listed() == {leaving.serial}
        assert len(made.citadel.trust.crls) == 2

        class Revoked(PlayedAgent):
            async def start(self, name: str) -> X509Svid:
                return leaving if name == "leaving" else await super().start(name)

        agent.leave()
        obstinate = Revoked(made.citadel, holders=dict(agent.holders) | {"leaving": stubborn})
        await until_done(made.citadel, obstinate)
        assert {row.slot for row in made.citadel.authorities.rows} == {Slot.ACTIVE, Slot.RETIRED}
        obstinate.leave()


async def test_an_authority_whose_key_is_gone_means_no_lists_at_all(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        await made.citadel.rotate(BY)
        old = next(row for row in made.citadel.authorities.rows if row.slot is Slot.OLD and row.parent)
        made.citadel.ground.keys.destroy(old.id)
        await made.revocations.revoke(by_serial(await issue(made.citadel)), by=BY)
        assert made.citadel.trust.revoked.serials
        assert made.citadel.trust.crls == ()
        assert made.revocations.problem.startswith(f"there are no revocation lists, since {old.id} can sign none")


async def test_an_authority_whose_key_cannot_be_read_any_more_leaves_its_last_list(tmp_path: Path) -> None:
    with revoking(tmp_path) as made:
        first, second = await issue(made.citadel), await issue(made.citadel)
        await made.revocations.revoke(by_serial(first), by=BY)
        lists = made.citadel.trust.crls
        old = made.citadel.authorities.issuing.id
        key = tmp_path / "ca" / f"{old}.pem"
        key.chmod(0o644)
        stranger = "f" * 32
        await made.revocations.revoke(Target(what=What.IDENTITY, value=IDENTITY + "-other", name="other"), by=BY)
        assert (made.citadel.trust.crls, made.revocations.problem) == (lists, ""), "what has not changed needs no key"
        await made.revocations.revoke(by_serial(second), by=BY)
        assert made.citadel.trust.crls == lists
        assert second.serial in made.citadel.trust.revoked.serials
        (told,) = made.revocations.concerns()
        assert told.startswith(f"the revocation list of {old} does not say what has changed last")
        key.chmod(0o600)
        await made.revocations.revoke(Target(what=What.SERIAL, value=stranger, name=stranger), by=BY)
        assert made.listed() == {first.serial, second.serial, stranger}
        assert made.revocations.problem == ""


def test_a_banned_machine_gets_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        revocations = Revocations(citadel.ground, citadel.authorities, banned=lambda node: node == CALLER.node)
        citadel.heed(revocations)
        with pytest.raises(AttestationRefused, match="node here was banned"):
            asyncio.run(issue(citadel))


async def test_what_cannot_be_forgotten_on_a_full_disk_is_forgotten_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, tries, seen = HandClock(), list[bool](), asyncio.Event()
    with revoking(tmp_path, clock) as made:
        await made.revocations.revoke(by_serial(await issue(made.citadel)), by=BY)
        clock.pass_by(timedelta(days=3))
        write = State.write

        async def full_at_first(state: State, *writes: Write) -> None:
            tries.append(True)
            if len(tries) == 1:
                raise StateUnusable(tmp_path, "the disk is full", "free some space")
            await write(state, *writes)
            seen.set()

        monkeypatch.setattr(State, "write", full_at_first)
        monkeypatch.setattr(revocation, "_REVIEWED_EVERY", timedelta(0))
        running = asyncio.create_task(made.revocations.run())
        async with asyncio.timeout(10):
            await seen.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert made.revocations.all == ()
