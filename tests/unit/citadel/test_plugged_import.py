"""A company's authority is imported: trusted first, then signing; followed afterwards, and never the worse for a broken file."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.citadel.company import CompanyCa, company_ca
from tests.unit.citadel.rig import HandClock, PlayedAgent, issue, opened, until_done

from hauberk.citadel.authorities import certificate_of
from hauberk.citadel.authority import Citadel
from hauberk.citadel.exchange import ExchangeRefused
from hauberk.citadel.plugged_ca import CaRefused
from hauberk.citadel.plugged_files import PluggedFiles, files_in
from hauberk.citadel.plugged_import import PluggedImport, Result
from hauberk.citadel.state import Write
from hauberk.citadel.state_authorities import Slot

ROOT = company_ca("Root")
POLICY = company_ca("Policy", ROOT)
OURS = company_ca("Mesh", POLICY)
NEXT = company_ca("Mesh 2", POLICY)


def cacerts(directory: Path, ca: CompanyCa) -> PluggedFiles:
    """The files as Istio names them."""
    directory.mkdir(exist_ok=True)
    (directory / "ca-cert.pem").write_bytes(ca.pem)
    (directory / "cert-chain.pem").write_bytes(ca.chain_pem)
    (directory / "root-cert.pem").write_bytes(ca.root_pem)
    (directory / "ca-key.pem").write_bytes(ca.key_pem())
    (directory / "ca-key.pem").chmod(0o600)
    return files_in(directory)


@contextmanager
def plugged(directory: Path, clock: HandClock | None = None) -> Iterator[tuple[Citadel, PluggedImport, PlayedAgent]]:
    with opened(directory, clock) as citadel:
        yield citadel, PluggedImport(citadel), PlayedAgent(citadel)


async def look(importing: PluggedImport, times: int = 2) -> None:
    for _ in range(times):
        await importing.look()


async def test_the_new_root_is_trusted_before_the_authority_signs_and_chains_are_complete_without_it(tmp_path: Path) -> None:
    files = cacerts(tmp_path / "cacerts", OURS)
    with plugged(tmp_path) as (citadel, importing, agent):
        before = await agent.start("web-1")
        own_root = citadel.trust.x509_authorities[0]
        assert (await importing.take(files, "uid 0")).result is Result.ROTATING
        assert citadel.trust.x509_authorities == (own_root, ROOT.certificate)
        assert (await issue(citadel)).chain[1] == before.chain[1]
        await until_done(citadel, agent)
        assert list(citadel.trust.x509_authorities) == [ROOT.certificate]
        after = await issue(citadel)
        assert after.chain[1:] == (OURS.certificate, POLICY.certificate)
        after.leaf.verify_directly_issued_by(OURS.certificate)


async def test_a_second_start_signs_with_it_though_its_files_are_gone(tmp_path: Path) -> None:
    files = cacerts(tmp_path / "cacerts", OURS)
    with plugged(tmp_path) as (citadel, importing, agent):
        await importing.take(files, "uid 0")
        await until_done(citadel, agent)
    shutil.rmtree(tmp_path / "cacerts")
    with plugged(tmp_path) as (citadel, importing, _):
        await look(importing)
        assert importing.problem == ""
        assert (await issue(citadel)).chain[1] == OURS.certificate


async def test_one_under_the_same_root_signs_at_once(tmp_path: Path) -> None:
    with plugged(tmp_path) as (citadel, importing, agent):
        await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
        await until_done(citadel, agent)
        assert (await importing.take(cacerts(tmp_path / "next", NEXT), "uid 0")).result is Result.ACTIVE
        assert (await issue(citadel)).chain[1:] == (NEXT.certificate, POLICY.certificate)
        assert citadel.trust.x509_authorities == (ROOT.certificate,)
        await citadel.housekeeping.tidy()


async def test_the_one_that_signs_already_changes_nothing(tmp_path: Path) -> None:
    files = cacerts(tmp_path / "cacerts", OURS)
    with plugged(tmp_path) as (citadel, importing, agent):
        await importing.take(files, "uid 0")
        await until_done(citadel, agent)
        assert (await importing.take(files, "uid 0")).result is Result.UNCHANGED


async def test_a_change_of_the_files_is_taken_over_when_it_has_come_to_rest(tmp_path: Path) -> None:
    with plugged(tmp_path) as (citadel, importing, agent):
        await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
        await until_done(citadel, agent)
        cacerts(tmp_path / "cacerts", NEXT)
        await look(importing, 1)
        assert (await issue(citadel)).chain[1] == OURS.certificate
        await look(importing, 1)
        assert (await issue(citadel)).chain[1] == NEXT.certificate


async def test_a_change_while_nobody_looked_is_taken_over_at_the_next_start(tmp_path: Path) -> None:
    with plugged(tmp_path) as (citadel, importing, agent):
        await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
        await until_done(citadel, agent)
    cacerts(tmp_path / "cacerts", NEXT)
    with plugged(tmp_path) as (citadel, importing, _):
        await look(importing)
        assert (await issue(citadel)).chain[1] == NEXT.certificate


@pytest.mark.parametrize("broken", ["key", "certificate", "mode"])
async def test_the_last_good_authority_stays_while_the_new_files_are_broken(tmp_path: Path, broken: str) -> None:
    with plugged(tmp_path) as (citadel, importing, agent):
        await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
        await until_done(citadel, agent)
        files = cacerts(tmp_path / "cacerts", NEXT)
        match broken:
            case "key":
                files.key.write_bytes(ROOT.key_pem())
            case "certificate":
                files.certificates.write_bytes(NEXT.pem[:100])
            case _:
                files.key.chmod(0o644)
        await look(importing, 3)
        assert importing.problem
        assert (await issue(citadel)).chain[1] == OURS.certificate
        cacerts(tmp_path / "cacerts", NEXT)
        await look(importing)
        assert importing.problem == ""
        assert (await issue(citadel)).chain[1] == NEXT.certificate


async def test_files_of_a_root_that_was_left_are_followed_no_more(tmp_path: Path) -> None:
    with plugged(tmp_path) as (citadel, importing, agent):
        await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
        await until_done(citadel, agent)
        await citadel.rotate_root("uid 0")
        await until_done(citadel, agent)
        cacerts(tmp_path / "cacerts", NEXT)
        await look(importing, 3)
        assert importing.followed is None
        assert (await issue(citadel)).chain[1].issuer != POLICY.certificate.subject


async def test_an_import_can_be_aborted_and_its_key_is_gone(tmp_path: Path) -> None:
    with plugged(tmp_path) as (citadel, importing, agent):
        before = await agent.start("web-1")
        taken = await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
        await citadel.abort_rotation("uid 0")
        await until_done(citadel, agent)
        assert (await issue(citadel)).chain[1] == before.chain[1]
        assert taken.authority not in citadel.ground.keys.ids()
        assert (await importing.take(files_in(tmp_path / "cacerts"), "uid 0")).result is Result.ROTATING
        await until_done(citadel, agent)
        assert (await issue(citadel)).chain[1] == OURS.certificate


async def test_while_roots_are_exchanged_nothing_is_imported(tmp_path: Path) -> None:
    with plugged(tmp_path) as (citadel, importing, _):
        await citadel.rotate_root("uid 0")
        before = citadel.ground.keys.ids()
        with pytest.raises(ExchangeRefused, match="going on already"):
            await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
        assert citadel.ground.keys.ids() == before


async def test_what_is_refused_changes_nothing_and_is_on_record(tmp_path: Path) -> None:
    short = company_ca("Mesh", ROOT, lives=timedelta(hours=1))
    with plugged(tmp_path) as (citadel, importing, _):
        before = (citadel.ground.keys.ids(), citadel.trust, importing.row)
        with pytest.raises(CaRefused, match="before the first leaf would"):
            await importing.take(cacerts(tmp_path / "cacerts", short), "uid 7")
        assert (citadel.ground.keys.ids(), citadel.trust, importing.row) == before
    events = [json.loads(line) for line in (tmp_path / "audit" / "records" / "000000000000.jsonl").read_text().splitlines()]
    (refused,) = [event for event in events if event["kind"] == "authority-imported"]
    assert (refused["by"], refused["outcome"].startswith("refused: ")) == ("uid 7", True)


async def test_a_check_says_what_would_be_taken_and_takes_nothing(tmp_path: Path) -> None:
    with plugged(tmp_path) as (citadel, importing, _):
        before = citadel.ground.keys.ids()
        assert (await importing.check(cacerts(tmp_path / "cacerts", OURS))).result is Result.SOUND
        assert citadel.ground.keys.ids() == before


async def test_killed_in_the_middle_it_goes_on_at_the_next_start(tmp_path: Path) -> None:
    with plugged(tmp_path) as (_, importing, agent):
        await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
    with plugged(tmp_path) as (citadel, importing, agent):
        assert importing.followed is not None
        await until_done(citadel, agent)
        assert (await issue(citadel)).chain[1] == OURS.certificate


async def test_whenever_it_is_killed_what_signs_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, authority in enumerate((OURS, NEXT)):  # an exchange of the root, and another issuing key below it
        left = tmp_path / f"left-{number}"
        with plugged(tmp_path) as (citadel, importing, agent):
            state = citadel.ground.state

            async def write_and_leave(*writes: Write, whole: Callable[..., Any] = state.write, left: Path = left) -> None:
                await whole(*writes)
                with suppress(FileExistsError):  # after the first write, as whoever is killed then
                    shutil.copytree(tmp_path / "ca", left / "ca")

            with monkeypatch.context() as patch:
                patch.setattr(state, "write", write_and_leave)
                await importing.take(cacerts(tmp_path / "cacerts", authority), "uid 0")
            await until_done(citadel, agent)
        with plugged(left) as (citadel, importing, _):
            assert importing.row is not None
            found = citadel.authorities.find(importing.row.authority)
            assert found is not None
            assert certificate_of(found) == authority.certificate
            assert importing.followed is not None


async def test_a_caller_who_gives_up_takes_no_key_away(tmp_path: Path) -> None:
    with plugged(tmp_path) as (citadel, importing, _):
        changes = citadel.changes()
        await anext(changes)
        taking = asyncio.create_task(importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0"))
        await anext(changes)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        assert {row.id for row in citadel.authorities.rows if row.slot is Slot.PREPARED and row.parent} <= citadel.ground.keys.ids()


async def test_a_lost_root_key_is_overcome_by_an_import(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        root = next(name for name in citadel.ground.keys.ids() if name.startswith("root"))
    (tmp_path / "ca" / f"{root}.pem").unlink()
    with plugged(tmp_path) as (citadel, importing, agent):
        await agent.start("web-1")
        await importing.take(cacerts(tmp_path / "cacerts", OURS), "uid 0")
        await until_done(citadel, agent)
        assert citadel.trust.x509_authorities == (ROOT.certificate,)


async def test_the_overview_says_what_is_wrong_with_the_files_and_when_the_authority_has_to_be_renewed(tmp_path: Path) -> None:
    clock = HandClock()
    with plugged(tmp_path, clock) as (citadel, importing, agent):
        files = cacerts(tmp_path / "cacerts", OURS)
        await importing.take(files, "uid 0")
        await until_done(citadel, agent)
        assert citadel.overview().problems == ()
        files.key.write_bytes(ROOT.key_pem())
        await look(importing)
        (told,) = citadel.overview().problems
        assert "cannot be taken over" in told
        cacerts(tmp_path / "cacerts", OURS)
        await look(importing)
        clock.pass_by((OURS.certificate.not_valid_after_utc - clock.now()) / 2)
        (told,) = citadel.overview().problems
        assert told.endswith("cannot be renewed here: import its successor (`hauberk ca import`)")


async def test_the_follower_ends_when_it_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        following = asyncio.create_task(PluggedImport(citadel, poll_seconds=0.001).follow())
        await asyncio.sleep(0)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following


@pytest.mark.parametrize("names", [("tls.crt", "tls.key", "ca.crt"), ("ca-cert.pem", "ca-key.pem", "root-cert.pem")])
async def test_files_are_found_by_the_names_of_istio_and_cert_manager(tmp_path: Path, names: tuple[str, str, str]) -> None:
    directory = tmp_path / "cacerts"
    directory.mkdir()
    for name, content in zip(names, (OURS.chain_pem, OURS.key_pem(), OURS.root_pem), strict=True):
        (directory / name).write_bytes(content)
    (directory / names[1]).chmod(0o600)
    with plugged(tmp_path) as (_, importing, _):
        assert (await importing.check(files_in(directory))).found.root == ROOT.certificate


def test_a_directory_without_an_authority_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaRefused, match=r"it holds no files of an authority; put ca-cert\.pem"):
        files_in(tmp_path)
