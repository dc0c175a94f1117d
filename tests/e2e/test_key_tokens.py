"""Keys in a PKCS#11 token, tried with SoftHSM: they are made there, sign there and never come out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.load import constant_load
from tests.e2e.objects import port
from tests.e2e.programs import server_command
from tests.e2e.soft_token import MODULE, PIN, make_token, needs_softhsm, token_of_this_process
from tests.e2e.waits import until

from hauberk.citadel.key_settings import KeyPlace, KeySettings, open_key_store
from hauberk.citadel.key_store import KeyAbsent, KeyAlgorithm, KeyStore, KeyUnreadable
from hauberk.citadel.token_uri import TokenUri
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import build_issuing, build_leaf, build_root
from hauberk.testing.mesh import running_mesh

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

pytestmark = needs_softhsm


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenUri]:
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (pip install 'hauberk[pkcs11]')")
    yield from token_of_this_process(tmp_path, monkeypatch)


@pytest.fixture
def keys(token: TokenUri, tmp_path: Path) -> KeyStore:
    return open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(token=token)))


def all_bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_chain_signed_in_the_token_verifies_to_its_last_byte(keys: KeyStore, algorithm: KeyAlgorithm) -> None:
    root_key, issuing_key = keys.create("root-1", algorithm), keys.create("issuing-1", algorithm)
    domain, life = "cluster.local", timedelta(days=1)
    root = root_key.sign_certificate(
        build_root(trust_domain=domain, public_key=root_key.public_key, serial=1 << 127, now=NOW, lifetime=life)
    )
    issuing = root_key.sign_certificate(
        build_issuing(trust_domain=domain, public_key=issuing_key.public_key, root=root, serial=2 << 120, now=NOW, lifetime=life)
    )
    leaf = issuing_key.sign_certificate(
        build_leaf(
            spiffe_id=SpiffeId(domain, "/ns/shop/sa/web"),
            public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
            issuer=issuing,
            serial=3 << 120,
            now=NOW,
            lifetime=timedelta(hours=1),
        )
    )
    for certificate, issuer in ((root, root), (issuing, root), (leaf, issuing)):
        certificate.verify_directly_issued_by(issuer)
        assert x509.load_der_x509_certificate(certificate.public_bytes(Encoding.DER)) == certificate
    verified = PolicyBuilder().store(Store([root])).time(NOW).build_client_verifier().verify(leaf, [issuing])
    assert verified.chain == [leaf, issuing, root]


def test_a_certificate_differs_from_one_by_a_key_in_memory_in_its_signature_only(keys: KeyStore) -> None:
    signer = keys.create("root-1")
    builder = build_root(trust_domain="cluster.local", public_key=signer.public_key, serial=1 << 127, now=NOW, lifetime=timedelta(days=1))
    by_token, by_memory = signer.sign_certificate(builder), builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    assert by_token.tbs_certificate_bytes == by_memory.tbs_certificate_bytes
    assert by_token.signature_algorithm_oid == by_memory.signature_algorithm_oid


def test_revocation_lists_and_tokens_are_signed_in_it_too(keys: KeyStore) -> None:
    signer = keys.create("jwt-1")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
    crl = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(NOW).next_update(NOW + timedelta(hours=1))
    assert signer.sign_crl(crl).is_signature_valid(signer.public_key)
    signature, public = signer.sign(b"header.payload"), signer.public_key
    assert isinstance(public, ec.EllipticCurvePublicKey)
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    public.verify(der, b"header.payload", ec.ECDSA(hashes.SHA256()))


def test_a_key_is_found_again_by_its_id_and_gone_when_destroyed(keys: KeyStore, token: TokenUri, tmp_path: Path) -> None:
    made = keys.create("root-1")
    again = open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(token=token)))
    assert again.ids() == {"root-1"}
    assert again.open("root-1").public_key == made.public_key
    with pytest.raises(FileExistsError):
        again.create("root-1")
    again.destroy("root-1")
    again.destroy("root-1")
    assert again.ids() == frozenset()
    with pytest.raises(KeyAbsent, match="it is not there"):
        again.open("root-1")


def test_no_key_is_in_a_file_and_none_comes_out_of_the_token(keys: KeyStore, tmp_path: Path) -> None:
    from hauberk.citadel.key_token import TokenSigner  # which needs the package that may be absent

    signer = keys.create("root-1")
    assert isinstance(signer, TokenSigner)
    with pytest.raises(TypeError, match="does not leave its token"):
        signer.by.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert b"PRIVATE KEY" not in all_bytes(tmp_path / "ca")
    assert PIN.encode() not in all_bytes(tmp_path / "ca")


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_an_imported_key_signs_as_it_did_outside(keys: KeyStore, kind: str) -> None:
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}
    curve = curves.get(kind)
    key = ec.generate_private_key(curve) if curve else rsa.generate_private_key(65537, 2048)
    signer = keys.adopt("issuing-1", key)
    assert signer.public_key == key.public_key()
    root = signer.sign_certificate(
        build_root(trust_domain="cluster.local", public_key=signer.public_key, serial=1 << 127, now=NOW, lifetime=timedelta(days=1))
    )
    root.verify_directly_issued_by(root)
    if isinstance(key, rsa.RSAPrivateKey):
        key.public_key().verify(signer.sign(b"data"), b"data", padding.PKCS1v15(), hashes.SHA256())


def test_keys_in_files_are_used_until_they_are_rotated_into_the_token(token: TokenUri, tmp_path: Path) -> None:
    old = open_key_store(tmp_path / "ca", KeySettings()).create("root-1")
    both = open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(token=token)))
    new = both.create("root-2")
    assert both.ids() == {"root-1", "root-2"}
    assert (both.open("root-1").public_key, both.open("root-2").public_key) == (old.public_key, new.public_key)
    assert not (tmp_path / "ca" / "root-2.pem").exists()
    with pytest.raises(FileExistsError):
        both.create("root-1")
    both.destroy("root-1")
    assert both.ids() == {"root-2"}


def test_leaving_a_token_keeps_its_keys_in_use_and_makes_new_ones_in_files(token: TokenUri, tmp_path: Path) -> None:
    old = open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(token=token))).create("root-1")
    left = open_key_store(tmp_path / "ca", KeySettings(former=KeyPlace(token=token)))
    left.create("root-2")
    assert (tmp_path / "ca" / "root-2.pem").exists()
    assert left.open("root-1").public_key == old.public_key


def test_two_meshes_in_one_token_do_not_see_each_others_keys(token: TokenUri, tmp_path: Path) -> None:
    settings = KeySettings(place=KeyPlace(token=token))
    first, second = open_key_store(tmp_path / "a", settings), open_key_store(tmp_path / "b", settings)
    first.create("root-1")
    assert second.ids() == frozenset()
    second.create("root-1")
    second.destroy("root-1")
    assert first.ids() == {"root-1"}


# python-pkcs11 complains of a search in the session that is gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_token_that_was_away_is_logged_in_to_again(keys: KeyStore) -> None:
    import pkcs11

    signer = keys.create("root-1")
    pkcs11.lib(str(MODULE)).reinitialize()  # every session of this process is gone, as after pulling the token out
    assert len(signer.sign(b"data")) == 64


def test_a_wrong_pin_is_tried_once_and_not_again_until_its_file_has_changed(
    token: TokenUri, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pkcs11

    token.pin_file.write_text("wrong-pin-000")
    settings = KeySettings(place=KeyPlace(token=token))
    with pytest.raises(KeyUnreadable, match="the token refuses this PIN; write the right PIN into the file") as caught:
        open_key_store(tmp_path / "ca", settings)
    assert "wrong-pin" not in str(caught.value)
    tried: list[str] = []
    monkeypatch.setattr(pkcs11.Token, "open", lambda *_args, **_more: tried.append("open"))
    with pytest.raises(KeyUnreadable, match="it is not tried again"):
        open_key_store(tmp_path / "ca", settings)
    assert tried == []
    monkeypatch.undo()
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    token.pin_file.write_text(PIN)
    open_key_store(tmp_path / "ca", settings).create("root-1")
    assert b"wrong-pin" not in all_bytes(tmp_path / "ca")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"token": "another"}, "it is not there"),
        ({"serial": "0000"}, "it is not there"),
        ({"module": Path("/usr/lib/no-module.so")}, "it is no PKCS#11 module"),
        ({"pin_file": Path("/nowhere/pin")}, "does not exist"),
    ],
)
def test_a_token_that_cannot_be_used_is_refused_with_the_remedy(
    token: TokenUri, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    import dataclasses

    with pytest.raises(KeyUnreadable, match=reason):
        open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(token=dataclasses.replace(token, **change))))  # type: ignore[arg-type]


def test_a_pin_that_others_may_read_is_refused(token: TokenUri, tmp_path: Path) -> None:
    token.pin_file.chmod(0o644)
    with pytest.raises(KeyUnreadable, match="chmod 600"):
        open_key_store(tmp_path / "ca", KeySettings(place=KeyPlace(token=token)))


def test_a_mesh_lives_from_a_token_and_exchanges_its_root_in_it_without_a_failed_request(tmp_path: Path) -> None:
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (pip install 'hauberk[pkcs11]')")
    uri, variables = make_token(tmp_path, "mesh")
    named = f"pkcs11:token=mesh?module-path={uri.module}&pin-source=file:{uri.pin_file}"
    with running_mesh(f"token-{os.getpid()}", settings={"HAUBERK_CA_TOKEN": named, **variables}) as mesh:
        shop = mesh.namespace("shop")
        objects.apply(
            shop,
            *(objects.account(name) for name in ("client", "web")),
            objects.pod("web", server_command("http@[::]:8080"), account="web"),
            objects.service("web", port(80, "http", 8080)),
            objects.idle("client", account="client"),
        )
        shop.ready("web", "client")
        assert ask(shop, "client", "http", "web", 80)["status"] == 200
        with constant_load(shop, "web:80", rate=100) as load:
            mesh.api("POST", "/v1/ca/rotate", {})
            mesh.api("POST", "/v1/ca/rotate", {"root": True})
            until(lambda: mesh.api("GET", "/v1/ca/rotation")["stage"] == "done", "the exchange of the root")
        assert (load.failed, load.total > 0) == (0, True), load
        assert b"PRIVATE KEY" not in all_bytes(mesh.places.state)
        assert PIN.encode() not in all_bytes(mesh.places.state)
        assert not list(mesh.places.authority.glob("*.pem"))
