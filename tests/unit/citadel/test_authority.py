"""The certificate authority: made once, kept safe, signing for attested pods only what they are."""

import asyncio
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store

from hauberk.api.container import Container
from hauberk.api.metadata import Metadata
from hauberk.api.pod import Pod, PodSpec
from hauberk.citadel.authority import Citadel
from hauberk.citadel.key_pairs import KeyPairs
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.settings import CitadelSettings
from hauberk.identity.csr import InvalidCsr, build_csr
from hauberk.identity.svid import X509Svid

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
POD = Pod(
    metadata=Metadata(name="web-1", namespace="shop", uid="u-1"),
    spec=PodSpec(containers=(Container(name="web", command=("web",)),), service_account_name="web", node_name="here"),
)


def open_citadel(directory: Path, now: datetime = NOW, **settings: timedelta) -> Citadel:
    return Citadel.open(directory, trust_domain="cluster.local", settings=CitadelSettings(**settings), now=now)


def issue(citadel: Citadel, now: datetime = NOW) -> X509Svid:
    issued = asyncio.run(citadel.issue(build_csr(ec.generate_private_key(ec.SECP256R1())), POD, now))
    return X509Svid.parse(issued.chain)


def test_the_first_start_makes_a_root_and_an_issuing_key_that_only_their_owner_reads(tmp_path: Path) -> None:
    open_citadel(tmp_path / "ca")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ca").iterdir()}
    assert modes == {"root.pem": 0o600, "issuing.pem": 0o600}
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def test_the_keys_are_ecdsa_p256(tmp_path: Path) -> None:
    open_citadel(tmp_path)
    for name in ("root", "issuing"):
        authority = KeyPairs(tmp_path).read(name)
        assert authority is not None
        assert isinstance(authority.key.curve, ec.SECP256R1)


def test_a_second_start_finds_the_same_authority(tmp_path: Path) -> None:
    first, second = open_citadel(tmp_path), open_citadel(tmp_path)
    assert first.trust_bundle() == second.trust_bundle()
    assert issue(first).chain[1] == issue(second).chain[1]


def test_a_certificate_names_the_pods_service_account_whatever_the_request_says(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = asyncio.run(open_citadel(tmp_path).issue(build_csr(key), POD, NOW))
    assert str(issued.spiffe_id) == "spiffe://cluster.local/ns/shop/sa/web"
    assert X509Svid.parse(issued.chain).leaf.public_key() == key.public_key()
    assert issued.to_document() == {"certificateChain": list(issued.chain), "trustBundle": list(issued.trust_bundle)}


def test_the_chain_is_complete_up_to_the_root_which_is_in_the_bundle_only(tmp_path: Path) -> None:
    citadel = open_citadel(tmp_path)
    svid = issue(citadel)
    (root,) = citadel.trust_bundle().authorities
    assert len(svid.chain) == 2
    verified = PolicyBuilder().store(Store([root])).time(NOW).build_client_verifier().verify(svid.leaf, [svid.chain[1]])
    assert verified.chain == [svid.leaf, svid.chain[1], root]


def test_serial_numbers_have_128_bits_and_never_repeat(tmp_path: Path) -> None:
    citadel = open_citadel(tmp_path)
    serials = {issue(citadel).leaf.serial_number for _ in range(50)}
    assert len(serials) == 50
    assert {serial.bit_length() for serial in serials} == {128}


def test_the_life_of_certificates_is_a_setting(tmp_path: Path) -> None:
    svid = issue(open_citadel(tmp_path, certificate_lifetime=timedelta(seconds=8)))
    assert svid.not_after == NOW + timedelta(seconds=8)
    assert svid.not_before >= NOW - timedelta(seconds=2)


def test_a_request_without_a_sound_key_gets_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidCsr):
        asyncio.run(open_citadel(tmp_path).issue("nonsense", POD, NOW))


def test_the_issuing_certificate_is_renewed_at_half_its_life_under_the_same_root(tmp_path: Path) -> None:
    citadel = open_citadel(tmp_path)
    before, later = issue(citadel), issue(citadel, NOW + timedelta(days=200))
    assert before.chain[1] != later.chain[1]
    assert later.not_after == NOW + timedelta(days=201)
    later.chain[1].verify_directly_issued_by(citadel.trust_bundle().authorities[0])
    assert issue(open_citadel(tmp_path, NOW + timedelta(days=201)), NOW + timedelta(days=201)).chain[1] == later.chain[1]


def test_a_clock_set_back_to_before_the_issuing_certificate_brings_one_new_one(tmp_path: Path) -> None:
    open_citadel(tmp_path)  # made long before the issuing certificate is renewed
    citadel = open_citadel(tmp_path, NOW + timedelta(days=200))
    back = NOW + timedelta(days=100)
    first, second = issue(citadel, back), issue(citadel, back + timedelta(seconds=1))
    assert first.chain[1].not_valid_before_utc <= back
    assert first.not_before <= back
    assert first.chain[1] == second.chain[1]
    assert issue(open_citadel(tmp_path, back), back).chain[1] == first.chain[1]


def test_a_clock_set_back_to_before_the_root_makes_no_new_issuing_certificate_at_each_request(tmp_path: Path) -> None:
    citadel = open_citadel(tmp_path)
    before = NOW - timedelta(hours=1)
    assert issue(citadel, before).chain[1] == issue(citadel, before).chain[1] == issue(citadel).chain[1]
    with structlog.testing.capture_logs() as logs:
        open_citadel(tmp_path, before)
    assert [event["event"] for event in logs] == ["the root is not valid yet: set the machine's clock"]


@pytest.mark.parametrize("lost", ["issuing.pem"])
def test_a_crash_between_root_and_issuing_key_is_finished_at_the_next_start(tmp_path: Path, lost: str) -> None:
    bundle = open_citadel(tmp_path).trust_bundle()
    (tmp_path / lost).unlink()
    citadel = open_citadel(tmp_path)
    assert citadel.trust_bundle() == bundle
    assert issue(citadel)


def test_a_crash_in_the_middle_of_a_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / ".new-0123").write_text("-----BEGIN PRIV")
    open_citadel(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["issuing.pem", "root.pem"]


def test_an_issuing_key_of_another_root_is_replaced(tmp_path: Path) -> None:
    open_citadel(tmp_path / "one")
    open_citadel(tmp_path / "other")
    (tmp_path / "other" / "issuing.pem").replace(tmp_path / "one" / "issuing.pem")
    citadel = open_citadel(tmp_path / "one")
    issue(citadel).chain[1].verify_directly_issued_by(citadel.trust_bundle().authorities[0])


def test_a_lost_root_is_an_error_and_not_a_new_root(tmp_path: Path) -> None:
    open_citadel(tmp_path)
    (tmp_path / "root.pem").unlink()
    with pytest.raises(KeyUnreadable, match="restore it from a backup"):
        open_citadel(tmp_path)


@pytest.mark.parametrize("content", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_root_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    open_citadel(tmp_path)
    (tmp_path / "root.pem").write_text(content)
    with pytest.raises(KeyUnreadable, match=r"root\.pem.*damaged"):
        open_citadel(tmp_path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    open_citadel(tmp_path)
    (tmp_path / "root.pem").chmod(0o644)
    with pytest.raises(KeyUnreadable, match="chmod 600"):
        open_citadel(tmp_path)


def test_the_root_of_another_trust_domain_is_refused(tmp_path: Path) -> None:
    open_citadel(tmp_path)
    with pytest.raises(KeyUnreadable, match=r"made for spiffe://cluster\.local"):
        Citadel.open(tmp_path, trust_domain="example.org", settings=CitadelSettings(), now=NOW)


def test_an_expired_root_is_refused(tmp_path: Path) -> None:
    open_citadel(tmp_path, root_lifetime=timedelta(days=1))
    with pytest.raises(KeyUnreadable, match="expired"):
        open_citadel(tmp_path, NOW + timedelta(days=2))


def test_no_key_is_ever_in_a_log_a_repr_or_an_error(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        citadel = open_citadel(tmp_path)
        issue(citadel)
    store = KeyPairs(tmp_path)
    root = store.read("root")
    assert root is not None
    number = root.key.private_numbers().private_value
    shown = json.dumps(logs, default=str) + repr(root) + repr(vars(citadel)) + repr(store)
    key_text = root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().splitlines()[1]
    assert "PRIVATE" not in shown
    assert key_text not in shown
    assert str(number) not in shown
    (tmp_path / "root.pem").write_text(root.certificate.public_bytes(Encoding.PEM).decode() + "-----BEGIN PRIVATE KEY-----\n" + key_text)
    with pytest.raises(KeyUnreadable) as error:
        open_citadel(tmp_path)
    assert key_text not in f"{error.value!r} {error.value.__cause__!r}"


def test_issuing_is_told_with_pod_identity_and_serial(tmp_path: Path) -> None:
    citadel = open_citadel(tmp_path)
    with structlog.testing.capture_logs() as logs:
        svid = issue(citadel)
    (event,) = logs
    assert (event["pod"], event["spiffe_id"], event["serial"]) == ("shop/web-1", str(svid.spiffe_id), svid.serial)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        open_citadel(tmp_path / "ca")


def test_leaf_and_authorities_have_no_private_path(tmp_path: Path) -> None:
    names = open_citadel(tmp_path).trust_bundle().authorities[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local"]
