"""The endpoint that serves our bundle (41, 43, 44), asked over real TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from tests.unit.citadel.foreign import LOOPBACK, Domain, WebAuthority

from hauberk.citadel.authority import Citadel
from hauberk.citadel.bundle_endpoint import BundleEndpoint
from hauberk.citadel.bundle_fetch import SpiffeServer, fetch_bundle
from hauberk.citadel.endpoint_identity import FileIdentity, Identity, SvidIdentity, endpoint_id
from hauberk.citadel.federation import Profile
from hauberk.citadel.federation_settings import Listen
from hauberk.citadel.ground import Ground
from hauberk.citadel.settings import CitadelSettings
from hauberk.identity.bundle_document import parse_bundle
from hauberk.identity.trust import Trust
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.web_fetch import FetchFailed, WebServer


class Stopped:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def clock() -> Stopped:
    return Stopped()


@pytest.fixture
def citadel(tmp_path: Path, clock: Stopped) -> Citadel:
    (tmp_path / "ca").mkdir()
    ground = Ground.open(tmp_path / "ca", trust_domain="a.td", clock=clock, audit=tmp_path / "audit")
    return Citadel.open(ground, CitadelSettings())


def svid(citadel: Citadel) -> SvidIdentity:
    return SvidIdentity(citadel.ground, lambda attested, key: citadel.issuer.issue_to(attested, key, by="citadel"))


@asynccontextmanager
async def served(identity: Identity, trust: Trust | Citadel) -> AsyncIterator[int]:
    """The endpoint on 127.0.0.1; its port."""
    listen = Listen(host="127.0.0.1", port=0, profile=Profile.SPIFFE)
    endpoint = BundleEndpoint(listen, identity, lambda: trust if isinstance(trust, Trust) else trust.trust)
    async with endpoint.serving() as server:
        yield server.sockets[0].getsockname()[1]


def believing(citadel: Citadel) -> SpiffeServer:
    return SpiffeServer(spiffe_id=endpoint_id("a.td"), authorities=citadel.trust.x509_authorities)


async def fetch(port: int, server: SpiffeServer | WebServer, path: str = "/") -> bytes:
    return await fetch_bundle(f"https://127.0.0.1:{port}{path}", server, LOOPBACK, seconds=5)


async def raw(port: int, request: bytes) -> bytes:
    """The answer to one request of a caller who shows no certificate and names no server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_41_44_our_bundle_is_served_with_an_svid_of_our_own(citadel: Citadel) -> None:
    identity = svid(citadel)
    await identity.look()
    async with served(identity, citadel) as port:
        found = parse_bundle(await fetch(port, believing(citadel)), "a.td")
    assert found.bundle.x509_authorities == citadel.trust.x509_authorities
    assert found.bundle.sequence == citadel.trust.sequence
    assert found.has_sequence


async def test_43_nobody_is_asked_for_a_certificate_and_a_get_answers_json(citadel: Citadel) -> None:
    identity = svid(citadel)
    await identity.look()
    async with served(identity, citadel) as port:
        answer = await raw(port, b"GET /?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: application/json\r\n" in answer
        assert (await raw(port, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"\r\n\r\n")
        assert b" 404 " in (await raw(port, b"GET /keys HTTP/1.1\r\n\r\n"))[:20]
        assert b" 405 " in (await raw(port, b"POST / HTTP/1.1\r\n\r\n"))[:20]
        assert await raw(port, b"x" * 20_000) == b""


async def publish(citadel: Citadel, roots: tuple[x509.Certificate, ...]) -> None:
    await citadel.ground.publication.publish(lambda trust: replace(trust, x509_authorities=roots))


async def test_43_the_newest_bundle_is_served(citadel: Citadel) -> None:
    identity = svid(citadel)
    await identity.look()
    other = Domain("a.td").root
    async with served(identity, citadel) as port:
        for roots in (citadel.trust.x509_authorities, (*citadel.trust.x509_authorities, other)):
            await publish(citadel, roots)
            found = parse_bundle(await fetch(port, believing(citadel)), "a.td").bundle
            assert (found.x509_authorities, found.sequence) == (roots, citadel.trust.sequence)


async def test_the_endpoints_svid_is_renewed_at_half_its_life_and_the_old_one_is_off_the_books(citadel: Citadel, clock: Stopped) -> None:
    identity = svid(citadel)
    await identity.look()
    first = identity.context
    await identity.look()
    assert identity.context is first
    clock.at += timedelta(minutes=31)
    await identity.look()
    assert identity.context is not first
    rows = citadel.certificates_of("outside bundle endpoint")
    assert sorted(row.revoked_at is None for row in rows) == [False, True]


async def test_the_endpoints_svid_is_renewed_when_its_authority_goes_out_of_use(citadel: Citadel) -> None:
    identity = svid(citadel)
    await identity.look()
    first = identity.context
    leaving = citadel.certificates_of("outside bundle endpoint")[0].authority_id
    await citadel.rotate("jo")
    await citadel.ground.publication.publish(lambda trust: replace(trust, renew=frozenset({leaving})))
    await identity.look()
    assert identity.context is not first


async def test_an_endpoint_without_certificate_answers_nobody_and_goes_on(citadel: Citadel) -> None:
    identity = svid(citadel)
    async with served(identity, citadel) as port:
        with pytest.raises(FetchFailed):
            await fetch(port, believing(citadel))
        await identity.look()
        assert await fetch(port, believing(citadel))


async def test_44_https_web_shows_the_configured_certificate_and_follows_its_files(citadel: Citadel, tmp_path: Path) -> None:
    authorities = WebAuthority(), WebAuthority()
    (tmp_path / "first.pem").write_text(to_pem(authorities[0].certificate))
    (tmp_path / "second.pem").write_text(to_pem(authorities[1].certificate))
    servers = [WebServer(ca_file=tmp_path / name) for name in ("first.pem", "second.pem")]
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    identity = FileIdentity(certificate, key)

    def write(authority: WebAuthority) -> None:
        pair = authority.issue("127.0.0.1")
        certificate.write_bytes(pair[0])
        key.touch(mode=0o600)
        key.write_bytes(pair[1])
        identity.look()

    async with served(identity, citadel) as port:
        for authority, server in zip(authorities, servers, strict=True):
            write(authority)
            assert await fetch(port, server)
        # What cannot be used leaves the former one.
        certificate.write_text("nonsense")
        identity.look()
        assert await fetch(port, servers[1])


async def test_a_key_file_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    pair = WebAuthority().issue("127.0.0.1")
    (tmp_path / "c").write_bytes(pair[0])
    (tmp_path / "k").write_bytes(pair[1])
    (tmp_path / "k").chmod(0o644)
    identity = FileIdentity(tmp_path / "c", tmp_path / "k")
    identity.look()
    assert identity.context is None
    (tmp_path / "k").chmod(0o600)
    identity.look()
    assert identity.context is not None
