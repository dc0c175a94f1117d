"""The certificate authority: made once, kept safe, signing for whom has been attested only what he is."""

import json
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store
from tests.unit.citadel.rig import CALLER, NOW, TRUST_DOMAIN, HandClock, PlayedAgent, issue, opened, request, row_of

from hauberk.citadel.attestation import AttestationRefused
from hauberk.citadel.authorities import NoIssuer
from hauberk.citadel.authority import Citadel
from hauberk.citadel.exchange import ExchangeRefused
from hauberk.citadel.ground import Ground
from hauberk.citadel.issuing import InvalidLifetime
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.ledger import KEY
from hauberk.citadel.rate_limit import TooMany
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state import StateUnusable
from hauberk.citadel.state_authorities import Slot
from hauberk.identity.csr import InvalidCsr, build_csr
from hauberk.identity.svid import X509Svid
from hauberk.identity.template import build_issuing, build_root
from hauberk.identity.wire import PodSubject

LATER = timedelta(days=200)


def trusted_by(directory: Path, clock: HandClock | None = None, settings: CitadelSettings | None = None) -> x509.Certificate:
    with opened(directory, clock, settings) as citadel:
        (root,) = citadel.trust.x509_authorities
        return root


async def issued_by(directory: Path, clock: HandClock | None = None, settings: CitadelSettings | None = None) -> X509Svid:
    with opened(directory, clock, settings) as citadel:
        return await issue(citadel)


def key_file(directory: Path, kind: str) -> Path:
    (path,) = (directory / "ca").glob(f"{kind}*.pem")
    return path


def database(directory: Path) -> Path:
    return directory / "ca" / "citadel.db"


def write_first_release(directory: Path) -> x509.Certificate:
    """What the first release left: one file each for root and issuing key, certificate and key together."""
    ca = directory / "ca"
    ca.mkdir(parents=True)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    serial = 1 << 127
    root = build_root(
        trust_domain=TRUST_DOMAIN, public_key=keys[0].public_key(), serial=serial + 1, now=NOW, lifetime=timedelta(days=3650)
    ).sign(keys[0], hashes.SHA256())
    issuing = build_issuing(
        trust_domain=TRUST_DOMAIN, public_key=keys[1].public_key(), root=root, serial=serial + 2, now=NOW, lifetime=timedelta(days=365)
    ).sign(keys[0], hashes.SHA256())
    for name, certificate, key in (("root", root, keys[0]), ("issuing", issuing, keys[1])):
        text = certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (ca / f"{name}.pem").write_bytes(text)
        (ca / f"{name}.pem").chmod(0o600)
    return root


# --- what is made, and what is found again


def test_the_first_start_makes_a_root_and_an_issuing_key_that_only_their_owner_reads(tmp_path: Path) -> None:
    trusted_by(tmp_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ca").glob("*.pem")} == {0o600}
    assert stat.S_IMODE((tmp_path / "ca" / "citadel.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert len(list((tmp_path / "ca").glob("*.pem"))) == 3  # the audit log's own among them


async def test_a_second_start_finds_the_same_authority(tmp_path: Path) -> None:
    assert trusted_by(tmp_path) == trusted_by(tmp_path)
    assert (await issued_by(tmp_path)).chain[1] == (await issued_by(tmp_path)).chain[1]


async def test_the_pair_of_the_first_release_is_taken_over(tmp_path: Path) -> None:
    root = write_first_release(tmp_path)
    assert trusted_by(tmp_path) == root
    svid = await issued_by(tmp_path)
    svid.chain[1].verify_directly_issued_by(root)
    assert svid.chain[1].serial_number == (1 << 127) + 2
    with opened(tmp_path) as citadel:
        assert {view.id for view in citadel.overview().authorities} == {"root", "issuing"}


async def test_an_issuing_key_of_another_root_is_not_used(tmp_path: Path) -> None:
    root = write_first_release(tmp_path / "one")
    write_first_release(tmp_path / "other")
    (tmp_path / "other" / "ca" / "issuing.pem").replace(tmp_path / "one" / "ca" / "issuing.pem")
    (await issued_by(tmp_path / "one")).chain[1].verify_directly_issued_by(root)


def test_an_issuing_key_without_its_root_is_an_error_and_not_a_new_root(tmp_path: Path) -> None:
    write_first_release(tmp_path)
    (tmp_path / "ca" / "root.pem").unlink()
    with pytest.raises(KeyUnreadable, match="restore it from a backup"), opened(tmp_path):
        pass


async def test_a_lost_issuing_key_is_replaced_under_the_same_root(tmp_path: Path) -> None:
    root = trusted_by(tmp_path)
    key_file(tmp_path, "issuing").unlink()
    (await issued_by(tmp_path)).chain[1].verify_directly_issued_by(root)


async def test_without_the_roots_key_issuing_goes_on_and_people_are_told(tmp_path: Path) -> None:
    root = trusted_by(tmp_path)
    key_file(tmp_path, "root").unlink()
    with opened(tmp_path) as citadel:
        (await issue(citadel)).chain[1].verify_directly_issued_by(root)
        assert "hauberk ca rotate --root" in citadel.overview().problems[0]
        with pytest.raises(NoIssuer, match="restore it, or run"):
            await citadel.rotate("root")


async def test_with_both_keys_lost_nothing_is_issued_until_a_new_root_is_made(tmp_path: Path) -> None:
    trusted_by(tmp_path)
    for kind in ("root", "issuing"):
        key_file(tmp_path, kind).unlink()
    with opened(tmp_path) as citadel:
        with pytest.raises(NoIssuer):
            await issue(citadel)
        await citadel.rotate_root("root")
        await citadel.housekeeping.tidy()
        assert await issue(citadel)


async def test_a_lost_database_loses_no_authority(tmp_path: Path) -> None:
    root, svid = trusted_by(tmp_path), (await issued_by(tmp_path))
    for path in (tmp_path / "ca").glob("citadel.db*"):
        path.unlink()
    assert trusted_by(tmp_path) == root
    assert (await issued_by(tmp_path)).chain[1] == svid.chain[1]


def test_a_torn_copy_of_a_certificate_is_written_again_before_it_is_needed(tmp_path: Path) -> None:
    root = trusted_by(tmp_path)
    for copy in (tmp_path / "ca").glob("*.crt"):
        copy.write_text(copy.read_text()[:100])
    trusted_by(tmp_path)
    for path in (tmp_path / "ca").glob("citadel.db*"):
        path.unlink()
    assert trusted_by(tmp_path) == root


def test_a_crash_in_the_middle_of_a_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / ".new-0123").write_text("-----BEGIN PRIV")
    trusted_by(tmp_path)
    assert not list((tmp_path / "ca").glob(".new-*"))


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    trusted_by(tmp_path)
    key_file(tmp_path, "issuing").chmod(0o644)
    with pytest.raises(KeyUnreadable, match="chmod 600"), opened(tmp_path):
        pass


def test_the_root_of_another_trust_domain_is_refused(tmp_path: Path) -> None:
    trusted_by(tmp_path)
    with pytest.raises(StateUnusable, match=r"of trust domain cluster\.local") as refused:
        Ground.open(tmp_path / "ca", trust_domain="example.org", clock=HandClock(), audit=tmp_path)
    assert "trustDomainAliases" in refused.value.hint
    # Without the database the root itself says whose it is.
    (tmp_path / "ca" / "citadel.db").unlink()
    ground = Ground.open(tmp_path / "ca", trust_domain="example.org", clock=HandClock(), audit=tmp_path)
    with pytest.raises(KeyUnreadable, match=r"made for spiffe://cluster\.local"):
        Citadel.open(ground, CitadelSettings())
    ground.close()


def test_an_expired_root_is_refused(tmp_path: Path) -> None:
    trusted_by(tmp_path, settings=CitadelSettings(root_lifetime=timedelta(days=1)))
    with pytest.raises(KeyUnreadable, match="expired"), opened(tmp_path, HandClock(NOW + timedelta(days=2))):
        pass


def test_a_root_that_is_not_valid_yet_is_told_of(tmp_path: Path) -> None:
    trusted_by(tmp_path)
    with structlog.testing.capture_logs() as logs:
        trusted_by(tmp_path, HandClock(NOW - timedelta(days=1)))
    assert "the root is not valid yet: set the machine's clock" in [event["event"] for event in logs]


# --- what is issued


async def test_a_certificate_names_whom_was_attested_whatever_the_request_says(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/istio-system/sa/admin")])
    authority = x509.BasicConstraints(ca=True, path_length=None)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    csr = builder.add_extension(authority, critical=True).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    with opened(tmp_path) as citadel:
        reply = await citadel.issuer.issue(replace(request(), csr_der=csr), CALLER)
    svid = X509Svid.from_der(reply.chain_der)
    assert str(svid.spiffe_id) == "spiffe://cluster.local/ns/shop/sa/web"
    assert svid.leaf.public_key() == key.public_key()


async def test_the_chain_is_complete_up_to_the_root_which_is_in_the_trust_only(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        svid, (root,) = await issue(citadel), citadel.trust.x509_authorities
    verified = PolicyBuilder().store(Store([root])).time(NOW).build_client_verifier().verify(svid.leaf, [svid.chain[1]])
    assert verified.chain == [svid.leaf, svid.chain[1], root]


async def test_serial_numbers_have_128_bits_and_never_repeat(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        serials = {(await issue(citadel)).leaf.serial_number for _ in range(50)}
    assert len(serials) == 50
    assert {serial.bit_length() for serial in serials} == {128}


async def test_what_was_issued_is_on_record_with_what_proved_its_holder(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        svid = await issue(citadel)
        row = row_of(citadel, svid)
        view = citadel.certificate_of(pod="shop/web-1")
        assert (row.spiffe_id, row.holder, row.node, row.not_after) == (str(svid.spiffe_id), "pod shop/web-1 u-1", "here", svid.not_after)
        assert view is not None
        assert view.attested_by == {"pod": "shop/web-1"}
        assert [each.slot for each in view.chain] == [Slot.ACTIVE, Slot.ACTIVE]
        assert citadel.certificate_of(serial=svid.serial.upper()) == view
        assert citadel.certificate_of(pod="shop/web") is None
        assert citadel.overview().living == 1
    (event,) = [json.loads(line) for line in (tmp_path / "audit" / "records" / "000000000000.jsonl").read_text().splitlines()]
    assert (event["kind"], event["subject"]) == ("certificate-issued", str(svid.spiffe_id))
    assert (event["evidence"]["serial"], event["by"]) == (svid.serial, "node here")


async def test_a_refusal_is_on_record_with_its_reason(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        with pytest.raises(AttestationRefused):
            await issue(citadel, PodSubject(namespace="else", name="x", uid="u"))
        with pytest.raises(InvalidCsr):
            await citadel.issuer.issue(replace(request(), csr_der=b"nonsense"), CALLER)
    events = [json.loads(line) for line in (tmp_path / "audit" / "records" / "000000000000.jsonl").read_text().splitlines()]
    assert [(event["kind"], event["subject"]) for event in events] == [
        ("certificate-refused", "pod else/x u"),
        ("certificate-refused", "pod shop/web-1 u-1"),
    ]


@pytest.mark.parametrize("seconds", [0, -1, -(10**15)])
async def test_a_life_that_is_none_is_refused(tmp_path: Path, seconds: int) -> None:
    life = timedelta(seconds=seconds) if seconds > -(10**10) else timedelta(days=-365 * 200)
    with opened(tmp_path) as citadel, pytest.raises(InvalidLifetime):
        await issue(citadel, lifetime=life)


async def test_a_life_of_a_century_is_cut_to_what_anybody_may_have(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        assert (await issue(citadel, lifetime=timedelta(days=36500))).not_after == NOW + timedelta(days=7)
        assert (await issue(citadel, lifetime=timedelta(seconds=90))).not_after == NOW + timedelta(seconds=90)
        assert (await issue(citadel)).not_after == NOW + timedelta(hours=24)


async def test_one_caller_in_haste_is_told_when_to_come_again_and_others_are_served(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock, CitadelSettings(issue_rate=2, issue_burst=3)) as citadel:
        for _ in range(3):
            await issue(citadel)
        for _ in range(100):
            with pytest.raises(TooMany) as refused:
                await issue(citadel)
        assert refused.value.retry_after == pytest.approx(0.5)
        assert await issue(citadel, caller=replace(CALLER, node="there"))
        clock.pass_by(timedelta(seconds=0.5))
        assert await issue(citadel)
    # A hundred refusals of one second are one line: an attack must not fill the disk.
    text = (tmp_path / "audit" / "records" / "000000000000.jsonl").read_text()
    assert text.count("certificate-refused") == 1


async def test_a_program_outside_gets_a_certificate_that_somebody_answers_for(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        csr = build_csr(ec.generate_private_key(ec.SECP256R1()))
        issued = await citadel.issue_outside(csr, namespace="shop", service_account="batch", lifetime=timedelta(hours=1), by="root")
        assert (issued.row.holder, issued.row.spiffe_id) == ("outside root", "spiffe://cluster.local/ns/shop/sa/batch")
        assert X509Svid.parse(issued.chain_pem).not_after == NOW + timedelta(hours=1)


@pytest.mark.parametrize(("csr", "lifetime"), [("no request", None), ("", timedelta(0))])
async def test_what_a_program_outside_is_refused_is_on_record(tmp_path: Path, csr: str, lifetime: timedelta | None) -> None:
    with opened(tmp_path) as citadel:
        csr = csr or build_csr(ec.generate_private_key(ec.SECP256R1()))
        with pytest.raises((InvalidCsr, InvalidLifetime)) as refusal:
            await citadel.issue_outside(csr, namespace="shop", service_account="batch", lifetime=lifetime, by="uid 1000")
    line = json.loads((tmp_path / "audit" / "records" / "000000000000.jsonl").read_text().splitlines()[-1])
    assert (line["kind"], line["by"], line["outcome"]) == ("certificate-refused", "uid 1000", str(refusal.value))
    assert (line["subject"], line["evidence"]["holder"]) == ("spiffe://cluster.local/ns/shop/sa/batch", "outside uid 1000")


# --- the issuing key


async def test_the_issuing_certificate_is_renewed_at_half_its_life_under_the_same_root(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        before = await issue(citadel)
        clock.pass_by(LATER)
        later = await issue(citadel)
        assert before.chain[1] != later.chain[1]
        later.chain[1].verify_directly_issued_by(citadel.trust.x509_authorities[0])
    assert (await issued_by(tmp_path, clock)).chain[1] == later.chain[1]


async def test_a_clock_set_back_to_before_the_issuing_certificate_brings_one_new_one(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        clock.pass_by(LATER)
        await issue(citadel)
        clock.pass_by(-LATER / 2)
        first, second = await issue(citadel), await issue(citadel)
        assert first.chain[1].not_valid_before_utc <= clock.now()
        assert first.chain[1] == second.chain[1]


async def test_a_clock_set_back_to_before_the_root_makes_no_new_issuing_certificate_at_each_request(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        before = await issue(citadel)
        clock.pass_by(timedelta(minutes=-30))
        assert (await issue(citadel)).chain[1] == before.chain[1]


async def test_while_the_roots_key_cannot_be_read_the_issuing_key_signs_to_its_end_and_not_beyond(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        before = await issue(citadel)
        key_file(tmp_path, "root").write_text("damaged")
        clock.pass_by(LATER)
        with structlog.testing.capture_logs() as logs:
            assert (await issue(citadel)).chain[1] == (await issue(citadel)).chain[1] == before.chain[1]
        assert [log["log_level"] for log in logs] == ["warning"]
        clock.at = before.chain[1].not_valid_after_utc
        with pytest.raises(NoIssuer, match="cannot be used now, nor renewed"):
            await issue(citadel)
        assert len(citadel.ground.keys.ids() - {KEY}) == 2


async def test_a_root_that_can_sign_nothing_now_leaves_no_keys_behind(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        clock.at = citadel.trust.x509_authorities[0].not_valid_after_utc
        for _ in range(2):
            with pytest.raises(NoIssuer):
                await issue(citadel)
            with pytest.raises(NoIssuer, match="cannot sign an issuing key now"):
                await citadel.rotate("root")
        assert len(citadel.ground.keys.ids() - {KEY}) == 2


async def test_a_rotated_issuing_key_signs_at_once_and_the_former_goes_when_its_last_leaf_has_died(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        before = await issue(citadel)
        sequence = citadel.trust.sequence
        await citadel.rotate("root")
        after = await issue(citadel)
        assert after.chain[1] != before.chain[1]
        assert citadel.trust.sequence == sequence
        await citadel.housekeeping.tidy()
        assert sorted(view.slot for view in citadel.overview().authorities) == [Slot.ACTIVE, Slot.ACTIVE, Slot.OLD]
        clock.pass_by(timedelta(hours=25))
        await citadel.housekeeping.tidy()
        assert [view.slot for view in citadel.overview().authorities] == [Slot.ACTIVE, Slot.ACTIVE]
        assert len(citadel.ground.keys.ids() - {KEY}) == 2


async def test_an_issuing_key_is_kept_as_long_as_an_agent_says_that_something_of_it_is_used(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        agent = PlayedAgent(citadel)
        await agent.start("web-1")
        await citadel.rotate("root")
        clock.pass_by(timedelta(hours=25))
        agent.report(citadel.trust.sequence)
        await citadel.housekeeping.tidy()
        assert Slot.OLD in [view.slot for view in citadel.overview().authorities]


async def test_while_the_root_is_exchanged_no_issuing_key_is_rotated(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        await issue(citadel)
        await citadel.rotate_root("root")
        with pytest.raises(ExchangeRefused, match="being exchanged"):
            await citadel.rotate("root")


# --- what is never repeated, and never shown


async def test_a_database_restored_from_an_old_backup_repeats_neither_serial_nor_sequence(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        serials = [(await issue(citadel)).serial]
    backup = database(tmp_path).read_bytes()
    clock.pass_by(timedelta(seconds=1))
    with opened(tmp_path, clock) as citadel:
        serials += [(await issue(citadel)).serial for _ in range(3)]
        await citadel.rotate_root("root")
        told = citadel.trust.sequence
    database(tmp_path).write_bytes(backup)
    clock.pass_by(timedelta(seconds=1))
    with opened(tmp_path, clock) as citadel:
        serials += [(await issue(citadel)).serial for _ in range(3)]
        assert citadel.trust.sequence > told
    assert len(set(serials)) == 7


async def test_an_agent_that_knows_a_later_trust_is_outrun_though_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as citadel:
        agent = PlayedAgent(citadel)
        agent.report(citadel.trust.sequence + 10**9)
        await citadel.housekeeping.tidy()
        assert citadel.trust.sequence > agent.citadel.roster.reports["here"].sequence


async def test_a_sequence_that_no_clock_could_have_given_is_not_believed(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        before = citadel.trust
        PlayedAgent(citadel).report(2**62)
        await citadel.housekeeping.tidy()
        assert citadel.trust == before


async def test_no_key_is_ever_in_a_log_a_repr_or_the_ledger(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs, opened(tmp_path) as citadel:
        await issue(citadel)
        await citadel.rotate("root")
        await citadel.rotate_root("root")
        shown = json.dumps(logs, default=str) + repr(vars(citadel)) + repr(citadel.overview()) + repr(vars(citadel.authorities))
        shown += repr(citadel.authorities.issuing)
        keys, others = contents(tmp_path)
    assert len(keys) == 6  # the audit log's own among them
    everything = shown.encode() + others
    assert b"PRIVATE" not in everything
    for key in keys:
        assert key.splitlines()[1] not in everything


def contents(directory: Path) -> tuple[list[bytes], bytes]:
    """Of the key files, and of all others together."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    keys = [path for path in files if path.suffix == ".pem" and path.parent.name != "audit"]
    return [path.read_bytes() for path in keys], b"".join(path.read_bytes() for path in files if path not in keys)
