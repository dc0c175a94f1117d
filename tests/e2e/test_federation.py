"""Two meshes of two trust domains on one machine: their bundles by both profiles, and whom their sidecars let in after that."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.foreign_caller import call
from tests.e2e.objects import authorization_policy, port, rule
from tests.e2e.programs import server_command
from tests.e2e.waits import until
from tests.unit.citadel.foreign import Domain, WebAuthority, answering, key_pem, tls_server

from hauberk.citadel.endpoint_identity import ENDPOINT_PATH
from hauberk.citadel.key_file import FileKeyStore
from hauberk.citadel.serials import next_serial
from hauberk.identity.bundle_document import parse_bundle
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import build_leaf
from hauberk.identity.trust_bundle import to_pem
from hauberk.testing.mesh import Mesh, running_mesh
from hauberk.testing.namespace import MeshNamespace

Document = dict[str, Any]
B_ENDPOINT = f"spiffe://b.td{ENDPOINT_PATH}"


def hauberk(mesh: Mesh, *words: object) -> subprocess.CompletedProcess[str]:
    """A command about one of the two meshes."""
    command = [sys.executable, "-m", "hauberk", *map(str, words), "--mesh", mesh.places.mesh]
    environment = {**os.environ, **mesh.places.environment()}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass(frozen=True)
class Two:
    """Mesh A, where traffic is, and mesh B, which serves its bundle with both profiles."""

    a: Mesh
    b: Mesh
    shop: MeshNamespace
    spiffe_url: str
    web_url: str
    files: Path

    def federated(self) -> dict[str, Document]:
        """What A is federated with, by trust domain."""
        return {each["trustDomain"]: each for each in self.a.api("GET", "/v1/ca/federation")["items"]}

    def bundle_of_b(self) -> str:
        """The name of a file with B's bundle, as its operator would send it."""
        path = self.files / "b.json"
        path.write_text(hauberk(self.b, "ca", "bundle").stdout)
        return str(path)

    def pem(self, name: str) -> bytes:
        """A certificate of B's authority for `name`, which may be anybody's, with its key."""
        keys = FileKeyStore(self.b.places.authority)

        def signers() -> list[str]:
            return [each for each in keys.ids() if each.startswith("issuing")]

        # After an exchange of the root the former key is destroyed a moment after everybody has forgotten it.
        until(lambda: len(signers()) == 1, "one issuing key")
        (signer,) = signers()
        chain = (self.b.places.authority / f"{signer}.crt").read_text()
        return forge(name, chain, keys.open(signer))

    def call(self, pem: bytes) -> str:
        """What a foreign program gets from `web`."""
        return call(self.shop, "outside", self.shop.get("pods", "web")["status"]["podIP"], 8080, pem)


def forge(name: str, chain: str, signer: Any) -> bytes:
    from cryptography import x509

    key = ec.generate_private_key(ec.SECP256R1())
    template = build_leaf(
        spiffe_id=SpiffeId.parse(name),
        public_key=key.public_key(),
        issuer=x509.load_pem_x509_certificate(chain.encode()),
        serial=next_serial(),
        now=datetime.now(UTC),
        lifetime=timedelta(hours=1),
    )
    return to_pem(signer.sign_certificate(template)).encode() + chain.encode() + key_pem(key)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    files, web = tmp_path_factory.mktemp("federation"), WebAuthority()
    certificate, key = web.issue("localhost")
    (files / "web-ca.pem").write_text(to_pem(web.certificate))
    (files / "tls.crt").write_bytes(certificate)
    (files / "tls.key").touch(mode=0o600)
    (files / "tls.key").write_bytes(key)
    ports = free_port(), free_port()
    settings_b = {
        "HAUBERK_TRUST_DOMAIN": "b.td",
        "HAUBERK_BUNDLE_LISTEN": f"https_spiffe=127.0.0.1:{ports[0]},https_web=127.0.0.1:{ports[1]}",
        "HAUBERK_BUNDLE_CERTIFICATE": str(files / "tls.crt"),
        "HAUBERK_BUNDLE_KEY": str(files / "tls.key"),
        "HAUBERK_BUNDLE_REFRESH_SECONDS": "1",
    }
    settings_a = {
        # A mesh that is started while another's variables are set would serve at its address.
        **dict.fromkeys(settings_b, ""),
        "HAUBERK_TRUST_DOMAIN": "a.td",
        "HAUBERK_FEDERATION_ALLOW": "127.0.0.0/8",
        "HAUBERK_FEDERATION_SOONEST_SECONDS": "1",
        "HAUBERK_FEDERATION_CA_FILE": str(files / "web-ca.pem"),
    }
    with running_mesh(f"fed-b-{os.getpid()}", settings=settings_b) as b, running_mesh(f"fed-a-{os.getpid()}", settings=settings_a) as a:
        shop = a.namespace("shop")
        objects.apply(
            shop,
            *(objects.account(name) for name in ("client", "web")),
            objects.pod("web", server_command("http@[::]:8080"), account="web"),
            objects.service("web", port(8080, "http")),
            objects.idle("client", account="client"),
            objects.idle("outside", meshed=False),
        )
        shop.ready("web", "client", "outside")
        yield Two(a, b, shop, f"https://127.0.0.1:{ports[0]}/", f"https://localhost:{ports[1]}/", files)


@pytest.fixture(autouse=True)
def alone(two: Two) -> Iterator[None]:
    """A is federated with nobody before and after each test."""
    yield
    for name in two.federated():
        two.a.api("DELETE", "/v1/ca/federation", {"trustDomain": name})


def own_bundle(two: Two) -> Any:
    return parse_bundle(hauberk(two.b, "ca", "bundle").stdout.encode(), "b.td").bundle


def test_a_bundle_comes_with_a_web_certificate_or_with_an_svid(two: Two) -> None:
    roots = own_bundle(two).x509_authorities
    for words in (
        (two.web_url,),
        (two.spiffe_url, "--bundle", two.bundle_of_b(), "--endpoint-id", B_ENDPOINT),
    ):
        done = hauberk(two.a, "ca", "federate", "b.td", "--bundle", *words)
        assert (done.returncode, done.stderr) == (0, "")
        row = two.federated()["b.td"]
        assert [each["serial"] for each in row["x509Authorities"]] == [f"{root.serial_number:x}" for root in roots]
        assert "problem" not in row
        assert hauberk(two.a, "ca", "federate", "b.td", "--remove").returncode == 0
    assert hauberk(two.b, "ca", "bundle", "--pem").stdout == "".join(to_pem(root) for root in roots)


def test_an_endpoint_that_is_somebody_else_gives_nothing(two: Two) -> None:
    wrong = (
        ("--bundle", two.spiffe_url, "--bundle", two.bundle_of_b(), "--endpoint-id", "spiffe://b.td/ns/shop/sa/web"),
        ("--bundle", two.spiffe_url),
        ("--bundle", two.web_url.replace("localhost", "127.0.0.1")),
        ("--bundle", two.spiffe_url, "--endpoint-id", B_ENDPOINT),
        ("--bundle", "https://169.254.169.254/"),
    )
    for words in wrong[1:]:
        done = hauberk(two.a, "ca", "federate", "b.td", *words)
        assert done.returncode == 1
        assert [line.split(":")[0].strip() for line in done.stderr.splitlines()] == ["error", "do"]
    assert two.federated() == {}
    # Handed over as a file, the bundle counts; what the stranger says does not.
    assert hauberk(two.a, "ca", "federate", "b.td", *wrong[0]).returncode == 0
    assert "not spiffe://b.td/ns/shop/sa/web" in two.federated()["b.td"]["problem"]


def test_a_file_with_one_broken_certificate_is_refused_and_the_last_good_bundle_stays(two: Two) -> None:
    good = hauberk(two.b, "ca", "bundle", "--pem").stdout
    path = two.files / "mixed.pem"
    path.write_text(good)
    assert hauberk(two.a, "ca", "federate", "b.td", "--bundle", path).returncode == 0
    before = two.federated()
    path.write_text(good + good.replace("MII", "MIJ", 1) + good)
    done = hauberk(two.a, "ca", "federate", "b.td", "--bundle", path)
    assert done.returncode == 1
    assert f"{path}: certificate 2 cannot be read" in done.stderr
    assert two.federated() == before


def test_foreign_peers_are_authenticated_by_their_own_authority_and_then_policy_decides(two: Two) -> None:
    friend, other = two.pem("spiffe://b.td/ns/x/sa/y"), two.pem("spiffe://b.td/ns/shop/sa/client")
    ours, third = two.pem("spiffe://a.td/ns/shop/sa/client"), two.pem("spiffe://c.td/ns/x/sa/y")
    assert two.call(friend).startswith("refused")
    hauberk(two.a, "ca", "federate", "b.td", "--bundle", two.web_url)
    until(lambda: two.call(friend) == "200", "the sidecar to know B")
    # B's authority vouches for names of B and for nobody else's.
    assert [two.call(pem)[:7] for pem in (other, ours, third)] == ["200", "refused", "refused"]
    by_name = rule(source={"principals": ["b.td/ns/x/sa/y"]})
    # The namespace `shop` of a policy is A's own, whatever B calls its namespaces.
    by_place = rule(source={"namespaces": ["shop"]})
    objects.apply(two.shop, authorization_policy("friends", "ALLOW", by_name, by_place, app="web"))
    try:
        assert [two.call(pem)[:7] for pem in (friend, other, ours)] == ["200", "403", "refused"]
        assert ask(two.shop, "client", "http", "web", 8080)["status"] == 200
        records = two.shop.records(at_least=1, where=lambda each: each["source"].get("identity") == "spiffe://b.td/ns/shop/sa/client")
        assert records
    finally:
        two.shop.delete("AuthorizationPolicy", "friends")
    hauberk(two.a, "ca", "federate", "b.td", "--remove")
    until(lambda: two.call(friend).startswith("refused"), "the sidecar to forget B")
    assert ask(two.shop, "client", "http", "web", 8080)["status"] == 200


def test_an_exchange_of_the_other_meshs_root_is_followed_and_no_member_is_refused(two: Two) -> None:
    words = ("--bundle", two.spiffe_url, "--bundle", two.bundle_of_b(), "--endpoint-id", B_ENDPOINT)
    assert hauberk(two.a, "ca", "federate", "b.td", *words).returncode == 0
    before = [each["serial"] for each in two.federated()["b.td"]["x509Authorities"]]
    member = two.pem("spiffe://b.td/ns/x/sa/y")
    until(lambda: two.call(member) == "200", "the sidecar to know B")
    two.b.api("POST", "/v1/ca/rotate", {"root": True})
    seen: list[list[str]] = []

    def exchanged() -> bool:
        # The endpoint proves itself by a certificate of the old root, and later by one of the new: the latest bundle knows it.
        row = two.federated()["b.td"]
        seen.append([each["serial"] for each in row["x509Authorities"]])
        assert "problem" not in row
        return len(seen[-1]) == 1 and seen[-1] != before

    until(exchanged, "B's new root alone")
    assert any(set(before) < set(each) for each in seen)
    until(lambda: two.call(two.pem("spiffe://b.td/ns/x/sa/y")) == "200", "the sidecar to know B's new root")
    until(lambda: two.call(member).startswith("refused"), "the old root to be forgotten")


class Publisher:
    """An endpoint of trust domain c.td in this process; what it answers is changed by the test."""

    def __init__(self) -> None:
        self.domain = Domain("c.td")
        self.newer = Domain("c.td")
        self.says = self.domain.document(5, hint=1)
        self.asked = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._end = asyncio.Event()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/"

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await answering(self.says)(reader, writer)

    async def _serve(self) -> None:
        async with tls_server(self.domain.svid(), self._handle) as self.port:
            self._up.set()
            await self._end.wait()

    @contextmanager
    def running(self) -> Iterator[Publisher]:
        thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        thread.start()
        assert self._up.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._end.set)
            thread.join()
            self._loop.close()


def test_a_rotation_propagates_the_sequence_never_goes_back_and_a_silent_endpoint_changes_nothing(two: Two, tmp_path: Path) -> None:
    def state() -> tuple[int, list[str], bool]:
        row = two.federated()["c.td"]
        return row["sequence"], [each["serial"] for each in row["x509Authorities"]], "problem" in row

    with Publisher().running() as publisher:
        (tmp_path / "c.json").write_bytes(publisher.says)
        words = ("--bundle", publisher.url, "--bundle", tmp_path / "c.json", "--endpoint-id", f"spiffe://c.td{ENDPOINT_PATH}")
        assert hauberk(two.a, "ca", "federate", "c.td", *words).returncode == 0
        old, new = (f"{each.root.serial_number:x}" for each in (publisher.domain, publisher.newer))
        assert state() == (5, [old], False)
        publisher.says = publisher.domain.document(6, hint=1, roots=(publisher.domain.root, publisher.newer.root))
        until(lambda: state() == (6, [old, new], False), "both roots")
        member = b"".join(publisher.newer.svid("/ns/x/sa/y"))
        until(lambda: two.call(member) == "200", "the sidecar to know the new root")
        for wrong in (publisher.domain.document(5, hint=1), b"{}", publisher.domain.document(7, hint=1)[:-9]):
            publisher.says = wrong
            until(lambda: state() == (6, [old, new], True), "the refusal")
            publisher.says = publisher.domain.document(6, hint=1, roots=(publisher.domain.root, publisher.newer.root))
            until(lambda: state() == (6, [old, new], False), "the recovery")
    until(lambda: state() == (6, [old, new], True), "the endpoint to be missed")
    assert two.call(member) == "200"
    lines = (two.a.places.audit / "records" / "000000000000.jsonl").read_text().splitlines()
    kinds = [each["kind"] for each in map(json.loads, lines) if each["subject"] == "c.td"]
    assert {"federated", "bundle-fetched", "bundle-refused"} <= set(kinds)
