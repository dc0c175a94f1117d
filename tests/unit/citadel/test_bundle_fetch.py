"""Fetching bundles, rule by rule (numbers as in the specification's list of requirements: 41 to 45)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.citadel.foreign import LOOPBACK, Domain, Handle, WebAuthority, answering, tls_server

from hauberk.citadel.bundle_fetch import Server, SpiffeServer, fetch_bundle
from hauberk.identity.bundle_document import MAX_BYTES
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.web_fetch import FetchFailed, WebServer

ENDPOINT = "/hauberk/bundle-endpoint"


@pytest.fixture(scope="module")
def domain() -> Domain:
    return Domain("b.td")


@pytest.fixture(scope="module")
def web() -> WebAuthority:
    return WebAuthority()


@pytest.fixture
def believing(web: WebAuthority, tmp_path: Path) -> WebServer:
    (tmp_path / "ca.pem").write_text(to_pem(web.certificate))
    return WebServer(ca_file=tmp_path / "ca.pem")


def of(domain: Domain, path: str = ENDPOINT) -> SpiffeServer:
    return SpiffeServer(spiffe_id=SpiffeId(domain.name, path), authorities=(domain.root,))


async def fetch(port: int, server: Server, *, host: str = "127.0.0.1", path: str = "/", seconds: float = 5) -> bytes:
    return await fetch_bundle(f"https://{host}:{port}{path}", server, LOOPBACK, seconds=seconds)


async def test_41_both_profiles_are_understood(domain: Domain, web: WebAuthority, believing: WebServer) -> None:
    document = domain.document()
    async with tls_server(web.issue("127.0.0.1"), answering(document)) as port:
        assert await fetch(port, believing) == document
    async with tls_server(domain.svid(), answering(document)) as port:
        assert await fetch(port, of(domain)) == document


@pytest.mark.parametrize("names", [("other.example",), ("127.0.0.2",), ()])
async def test_44_https_web_believes_a_certificate_for_the_hosts_name_only(
    names: tuple[str, ...], web: WebAuthority, believing: WebServer
) -> None:
    async with tls_server(web.issue(*names), answering(b"{}")) as port:
        with pytest.raises(FetchFailed, match="certificate is not believed"):
            await fetch(port, believing)


async def test_44_https_web_takes_no_common_name_for_a_host_name(web: WebAuthority, believing: WebServer) -> None:
    async with tls_server(web.issue("other.example"), answering(b"{}")) as port:
        with pytest.raises(FetchFailed, match="not believed"):
            await fetch(port, believing, host="localhost")


async def test_44_https_web_believes_no_trust_domain(domain: Domain, believing: WebServer) -> None:
    async with tls_server(domain.svid(), answering(b"{}")) as port:
        with pytest.raises(FetchFailed, match="not believed"):
            await fetch(port, believing)


Identity = Callable[[Domain], tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (lambda d: d.svid("/ns/shop/sa/web"), "not spiffe://b.td/hauberk/bundle-endpoint"),
        (lambda d: d.svid(domain="c.td"), "not spiffe://b.td/hauberk/bundle-endpoint"),
        (lambda _: Domain("b.td").svid(), "not believed"),
        (lambda _: WebAuthority().issue("127.0.0.1"), "not believed"),
    ],
)
async def test_44_https_spiffe_believes_exactly_the_configured_identity(domain: Domain, identity: Identity, said: str) -> None:
    async with tls_server(identity(domain), answering(b"{}")) as port:
        with pytest.raises(FetchFailed, match=said):
            await fetch(port, of(domain))


async def test_44_https_spiffe_without_any_authority_believes_nobody(domain: Domain) -> None:
    async with tls_server(domain.svid(), answering(b"{}")) as port:
        with pytest.raises(FetchFailed, match="no authority"):
            await fetch(port, SpiffeServer(spiffe_id=SpiffeId("b.td", ENDPOINT), authorities=()))


async def test_45_a_redirects_target_proves_the_same_identity(domain: Domain) -> None:
    document = domain.document()
    async with (
        tls_server(domain.svid(), answering(document)) as good,
        tls_server(domain.svid("/ns/a/sa/b"), answering(document)) as stranger,
    ):
        for target, passes in ((good, True), (stranger, False)):
            away = answering(b"", "302 Found", Location=f"https://127.0.0.1:{target}/")
            async with tls_server(domain.svid(), away) as first:
                if passes:
                    assert await fetch(first, of(domain)) == document
                else:
                    with pytest.raises(FetchFailed, match="not spiffe://"):
                        await fetch(first, of(domain))


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1/", "https://user@127.0.0.1/", "https://169.254.169.254/", "file:///etc/passwd", "https://[", "/"]
)
async def test_45_a_redirect_obeys_the_rules_of_urls_and_does_not_go_on_for_ever(domain: Domain, location: str) -> None:
    async with tls_server(domain.svid(), answering(b"", "307 Temporary Redirect", Location=location)) as port:
        with pytest.raises(FetchFailed):
            await fetch(port, of(domain))


async def test_local_addresses_are_not_asked_unless_they_are_allowed(domain: Domain) -> None:
    asked: list[bytes] = []

    async def remember(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1))

    async with tls_server(domain.svid(), remember) as port:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(FetchFailed, match="local or special"):
                await fetch_bundle(f"https://{host}:{port}/", of(domain))
    assert asked == []


def broken_off(body: bytes) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + body)

    return handle


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def noise(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 smtp.example ready\r\n")


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(64):
        writer.write(b" " * (MAX_BYTES // 8))
        await writer.drain()


@pytest.mark.parametrize(
    ("handle", "said"),
    [
        (broken_off(b"{"), "not to its end"),
        (answering(b"no", "404 Not Found"), "status 404"),
        (answering(b"x", Content_Encoding="gzip"), "encoding"),
        (noise, "in HTTP"),
        (endless, "larger than"),
        (silent, "no whole answer"),
    ],
)
async def test_an_endpoint_that_misbehaves_costs_neither_memory_nor_time(domain: Domain, handle: Handle, said: str) -> None:
    async with tls_server(domain.svid(), handle) as port:
        with pytest.raises(FetchFailed, match=said):
            await fetch(port, of(domain), seconds=0.3 if handle is silent else 5)


async def test_an_endpoint_that_is_not_there_is_said_to_be(domain: Domain) -> None:
    async with tls_server(domain.svid(), silent) as port:
        pass
    with pytest.raises(FetchFailed, match="cannot be reached"):
        await fetch(port, of(domain))
    with pytest.raises(FetchFailed, match="leads nowhere"):
        await fetch_bundle("https://nowhere.invalid/", of(domain))


async def test_a_name_that_tls_cannot_ask_for_cannot_be_reached(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    # Resolvers take what `server_hostname` does not.
    async def resolved(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    async with tls_server(domain.svid(), silent) as port:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
        with pytest.raises(FetchFailed, match="cannot be reached"):
            await fetch(port, of(domain), host="." + "x" * 80)


async def test_authorities_that_cannot_be_read_are_no_bug(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="cannot be read"):
        await fetch(1, WebServer(ca_file=tmp_path / "absent.pem"))
