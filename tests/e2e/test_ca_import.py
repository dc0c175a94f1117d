"""The company's authority is plugged into a running mesh: nothing fails, chains are complete, a broken file changes nothing."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.load import constant_load
from tests.e2e.objects import port
from tests.e2e.programs import server_command
from tests.e2e.waits import until
from tests.unit.citadel.company import CompanyCa, company_ca

from hauberk.testing.mesh import Mesh, running_mesh
from hauberk.testing.namespace import MeshNamespace

REAL_NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Company:
    """A root, an authority below it that signs authorities of meshes, and two of those."""

    root: CompanyCa
    first: CompanyCa
    second: CompanyCa
    directory: Path

    def put(self, ca: CompanyCa) -> Path:
        """The files of `ca`, by the names that Istio gives them."""
        self.directory.mkdir(exist_ok=True)
        for name, content in (
            ("ca-cert.pem", ca.pem),
            ("cert-chain.pem", ca.chain_pem),
            ("root-cert.pem", ca.root_pem),
            ("ca-key.pem", ca.key_pem()),
        ):
            (self.directory / f"new-{name}").touch(mode=0o600)
            (self.directory / f"new-{name}").write_bytes(content)
            (self.directory / f"new-{name}").replace(self.directory / name)
        return self.directory


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    root = company_ca("Example Root", now=REAL_NOW)
    policy = company_ca("Example Policy", root, now=REAL_NOW)
    first = company_ca("Mesh 1", policy, now=REAL_NOW, key=ec.generate_private_key(ec.SECP384R1()))
    # As a careful company does it: this authority can sign nothing but what the mesh needs. The proxies judge whether ours does.
    organization = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Hauberk")])
    limits = x509.NameConstraints([x509.UniformResourceIdentifier("cluster.local"), x509.DirectoryName(organization)], None)
    key = rsa.generate_private_key(65537, 2048)
    second = company_ca("Mesh 2", policy, now=REAL_NOW, key=key, path_length=0, extensions=((limits, True),))
    return Company(root, first, second, tmp_path_factory.mktemp("company") / "cacerts")


@pytest.fixture(scope="module")
def shop() -> Iterator[MeshNamespace]:
    with running_mesh(f"import-{os.getpid()}", settings={"HAUBERK_CERTIFICATE_LIFETIME": "1h"}) as mesh:
        shop = mesh.namespace("shop")
        objects.apply(
            shop,
            *(objects.account(name) for name in ("client", "web")),
            objects.pod("web", server_command("http@[::]:8080"), account="web"),
            objects.service("web", port(80, "http", 8080)),
            *(objects.idle(name, account="client") for name in ("client", "other")),
        )
        shop.ready("web", "client", "other")
        yield shop


def hauberk(mesh: Mesh, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hauberk", "--mesh", mesh.places.mesh, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def imported(mesh: Mesh) -> Any:
    return mesh.api("GET", "/v1/ca/import")


def shown_chain(shop: MeshNamespace, pod: str) -> list[x509.Certificate]:
    """What the Envoy of `pod` shows its callers: the newest, for one that is on its way out is there for a moment longer."""
    done = hauberk(shop.mesh, "proxy", "config", pod, "secrets", "-n", shop.name, "-o", "json")
    assert done.returncode == 0, done.stderr
    chains = [x509.load_pem_x509_certificates(pem) for pem in _pems(json.loads(done.stdout))]
    return max((chain for chain in chains if not _is_authority(chain[0])), key=lambda chain: chain[0].not_valid_before_utc)


def _pems(document: Any) -> Iterator[bytes]:
    if isinstance(document, dict):
        for name, value in document.items():
            if name == "inline_bytes" and b"CERTIFICATE" in (decoded := base64.b64decode(value)):
                yield decoded
            else:
                yield from _pems(value)
    elif isinstance(document, list):
        for each in document:
            yield from _pems(each)


def _is_authority(certificate: x509.Certificate) -> bool:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_under_load_the_mesh_becomes_an_intermediate_and_no_request_fails(shop: MeshNamespace, company: Company) -> None:
    with constant_load(shop, "web:80", rate=100) as load:
        done = hauberk(shop.mesh, "ca", "import", company.put(company.first))
        assert done.returncode == 0, done.stderr
        until(lambda: imported(shop.mesh)["slot"] == "active", "the imported authority to sign")
        until(
            lambda: all(shown_chain(shop, pod)[1] == company.first.certificate for pod in ("web", "client")),
            "every certificate to be below the imported authority",
        )
    assert (load.failed, load.total > 0) == (0, True), load
    chain = shown_chain(shop, "web")
    assert chain[1:] == [company.first.certificate, company.first.above[0].certificate]
    assert company.root.certificate not in chain


def test_broken_files_change_nothing_and_good_ones_are_taken_over(shop: MeshNamespace, company: Company) -> None:
    company.put(company.second)
    (company.directory / "ca-key.pem").write_bytes(company.root.key_pem())
    until(lambda: bool(imported(shop.mesh)["problem"]), "the broken files to be noticed")
    told = hauberk(shop.mesh, "ca", "import", "--list")
    assert "ca-key.pem: it does not belong to certificate" in told.stderr
    assert shown_chain(shop, "web")[1] == company.first.certificate
    assert ask(shop, "client", "http", "web", 80)["status"] == 200
    company.put(company.second)
    until(lambda: "Mesh 2" in imported(shop.mesh).get("subject", ""), "the good files to be taken over")
    assert imported(shop.mesh)["problem"] == ""
    objects.apply(shop, objects.idle("late", account="client"))
    shop.ready("late")
    assert shown_chain(shop, "late")[1] == company.second.certificate
    assert ask(shop, "late", "http", "web", 80)["status"] == 200


def test_below_an_imported_authority_one_is_revoked_and_nobody_else(shop: MeshNamespace) -> None:
    assert hauberk(shop.mesh, "ca", "revoke", "client", "-n", shop.name).returncode == 0
    until(lambda: ask(shop, "client", "http", "web", 80).get("status") != 200, "the revoked pod to be refused")
    assert [ask(shop, pod, "http", "web", 80).get("status") for pod in ("other", "late")] == [200, 200]


def test_what_cannot_be_used_is_refused_with_every_reason(shop: MeshNamespace, company: Company, tmp_path: Path) -> None:
    before = imported(shop.mesh)
    weak = company_ca("Weak", company.root, now=REAL_NOW, usages=("key_cert_sign",), key_identifier=False)
    (tmp_path / "chain.pem").write_bytes(weak.chain_pem)
    (tmp_path / "root.pem").write_bytes(weak.root_pem)
    (tmp_path / "key.pem").write_bytes(weak.key_pem())
    words = ("ca", "import", "--cert", tmp_path / "chain.pem", "--key", tmp_path / "key.pem", "--root", tmp_path / "root.pem")
    done = hauberk(shop.mesh, *words)
    assert done.returncode == 1
    assert f"run `chmod 600 {tmp_path}/key.pem`" in done.stderr
    (tmp_path / "key.pem").chmod(0o600)
    done = hauberk(shop.mesh, *words)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 2
    assert "(cRLSign)" in done.stderr
    assert "no subject key identifier" in done.stderr
    assert imported(shop.mesh) == before


def test_asking_for_nothing_in_particular_is_wrong_usage(shop: MeshNamespace) -> None:
    assert hauberk(shop.mesh, "ca", "import").returncode == 2
    assert hauberk(shop.mesh, "ca", "import", "/nowhere", "--cert", "a").returncode == 2
