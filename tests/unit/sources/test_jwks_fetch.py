"""Fetching the keys of issuers: from where, how much, how long, and proven by whom."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.citadel.foreign import LOOPBACK, Handle, WebAuthority, answering, tls_server

from hauberk.identity.jwk_key import encode_public_key
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.networks import Reach
from hauberk.kit.web_fetch import FetchFailed
from hauberk.mesh.issuer_keys import KeySource
from hauberk.sources.jwks_fetch import fetch_keys
from hauberk.sources.jwks_settings import InvalidJwksSetting, JwksSettings, read_jwks_settings

JWK = encode_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
JWKS = json.dumps({"keys": [JWK | {"use": "sig"}]}).encode()
USABLE = json.dumps({"keys": [JWK]}, separators=(",", ":"), sort_keys=True)


@pytest.fixture(scope="module")
def web() -> WebAuthority:
    return WebAuthority()


@pytest.fixture
def settings(web: WebAuthority, tmp_path: Path) -> JwksSettings:
    (tmp_path / "ca.pem").write_text(to_pem(web.certificate))
    return JwksSettings(reach=Reach(LOOPBACK), ca_file=tmp_path / "ca.pem")


def at(port: int, path: str = "/keys", scheme: str = "https") -> KeySource:
    return KeySource(f"{scheme}://127.0.0.1:{port}{path}")


async def test_usable_keys_are_fetched_and_nothing_else_of_the_document(web: WebAuthority, settings: JwksSettings) -> None:
    async with tls_server(web.issue("127.0.0.1"), answering(JWKS)) as port:
        assert (await fetch_keys(at(port), 5, settings)).text == USABLE


async def test_a_server_without_tls_is_asked_where_the_rule_says_so(settings: JwksSettings) -> None:
    async with await asyncio.start_server(answering(JWKS), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await fetch_keys(at(port, scheme="http"), 5, settings)).text == USABLE


async def test_only_a_server_that_proves_its_name_is_believed(web: WebAuthority, settings: JwksSettings) -> None:
    async with tls_server(web.issue("other.example"), answering(JWKS)) as port:
        with pytest.raises(FetchFailed, match="not believed"):
            await fetch_keys(at(port), 5, settings)
    async with tls_server(WebAuthority().issue("127.0.0.1"), answering(JWKS)) as port:
        with pytest.raises(FetchFailed, match="not believed"):
            await fetch_keys(at(port), 5, settings)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "100.100.100.200", "0.0.0.0", "[fe80::1]"]
)
async def test_local_and_special_addresses_are_not_even_connected_to(host: str, settings: JwksSettings) -> None:
    asked: list[object] = []

    async def remember(_: object, __: object) -> None:
        asked.append(1)

    async with await asyncio.start_server(remember, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(FetchFailed, match="local or special"):
            await fetch_keys(KeySource(f"http://{host}:{port}/"), 5, JwksSettings(ca_file=settings.ca_file))
    assert asked == []


async def test_what_is_blocked_is_not_asked_even_where_it_is_allowed(settings: JwksSettings) -> None:
    blocked = JwksSettings(reach=Reach(LOOPBACK, LOOPBACK))
    with pytest.raises(FetchFailed, match=r"^127\.0\.0\.1 is a local or special"):
        await fetch_keys(at(1), 5, blocked)


async def test_a_name_that_leads_elsewhere_the_second_time_is_asked_where_it_led_first(
    web: WebAuthority, settings: JwksSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["127.0.0.1", "169.254.169.254", "169.254.169.254"]

    async def resolved(_: str, port: int, **__: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", (answers.pop(0), port))]

    async with tls_server(web.issue("keys.example"), answering(JWKS)) as port:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
        assert (await fetch_keys(KeySource(f"https://keys.example:{port}/"), 5, settings)).text == USABLE
        with pytest.raises(FetchFailed, match=r"^keys\.example \(169\.254\.169\.254\) is a local or special"):
            await fetch_keys(KeySource(f"https://keys.example:{port}/"), 5, settings)


@pytest.mark.parametrize("location", ["https://127.0.0.1/", "http://169.254.169.254/latest/meta-data", "/elsewhere", "file:///etc/passwd"])
async def test_no_redirect_is_followed(location: str, web: WebAuthority, settings: JwksSettings) -> None:
    async with tls_server(web.issue("127.0.0.1"), answering(b"", "302 Found", Location=location)) as port:
        with pytest.raises(FetchFailed, match="none is followed"):
            await fetch_keys(at(port), 5, settings)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1 << 14):
        writer.write(b" " * (1 << 16))
        await writer.drain()


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    await reader.read()


@pytest.mark.parametrize(
    ("handle", "said"),
    [
        (endless, "larger than 1024 kB"),
        (slow, "no whole answer within"),
        (answering(b"no", "404 Not Found"), "status 404"),
        (answering(b"<html>"), "no JSON"),
        (answering(b'{"keys": []}'), "holds no key"),
        (answering(b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'), "shared secret"),
        (answering(JWKS, Content_Encoding="gzip"), "encoding"),
    ],
)
async def test_a_provider_that_misbehaves_costs_neither_memory_nor_time(
    handle: Handle, said: str, web: WebAuthority, settings: JwksSettings
) -> None:
    async with tls_server(web.issue("127.0.0.1"), handle) as port:
        with pytest.raises(FetchFailed, match=said):
            await fetch_keys(at(port), 0.3 if handle is slow else 5, settings)


def provider(documents: dict[str, object]) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        body = json.dumps(documents[path]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return handle


WELL_KNOWN = "/realm/.well-known/openid-configuration"


async def test_an_issuer_says_where_its_keys_are(web: WebAuthority, settings: JwksSettings) -> None:
    documents: dict[str, object] = {"/keys": json.loads(JWKS)}
    async with tls_server(web.issue("127.0.0.1"), provider(documents)) as port:
        for issuer in (f"https://127.0.0.1:{port}/realm", f"https://127.0.0.1:{port}/realm/"):
            documents[WELL_KNOWN] = {"issuer": issuer, "jwks_uri": f"https://127.0.0.1:{port}/keys"}
            assert (await fetch_keys(KeySource("", issuer), 5, settings)).text == USABLE


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"issuer": "https://other.example", "jwks_uri": "https://127.0.0.1/"}, "is of the issuer"),
        ({"jwks_uri": "https://127.0.0.1/"}, "is of the issuer"),
        ([], "is of the issuer"),
        ({"issuer": "ISSUER"}, "does not say where"),
        ({"issuer": "ISSUER", "jwks_uri": "http://127.0.0.1/"}, "begins with https"),
        ({"issuer": "ISSUER", "jwks_uri": "https://169.254.169.254/"}, "local or special"),
    ],
)
async def test_what_an_issuer_says_is_not_simply_believed(document: object, said: str, web: WebAuthority, settings: JwksSettings) -> None:
    documents: dict[str, object] = {}
    async with tls_server(web.issue("127.0.0.1"), provider(documents)) as port:
        issuer = f"https://127.0.0.1:{port}/realm"
        documents[WELL_KNOWN] = json.loads(json.dumps(document).replace("ISSUER", issuer))
        with pytest.raises(FetchFailed, match=said):
            await fetch_keys(KeySource("", issuer), 5, settings)


def test_settings_are_read_and_faulty_ones_named() -> None:
    found = read_jwks_settings({"HAUBERK_JWKS_ALLOWED_CIDRS": "127.0.0.0/8", "HAUBERK_JWKS_BLOCKED_CIDRS": "10.0.0.0/8"})
    assert [found.reach.includes(each) for each in ("127.0.0.1", "10.1.1.1", "192.168.1.1")] == [True, False, True]
    assert (found.refresh.total_seconds(), found.keep.total_seconds()) == (1200, 86400)
    for name, text in {
        "HAUBERK_JWKS_ALLOWED_CIDRS": "here",
        "HAUBERK_JWKS_BLOCKED_CIDRS": "1.2.3.4/8",
        "HAUBERK_JWKS_CA_FILE": "ca.pem",
        "HAUBERK_JWKS_REFRESH_SECONDS": "0",
        "HAUBERK_JWKS_KEEP_SECONDS": "a day",
    }.items():
        with pytest.raises(InvalidJwksSetting, match=name):
            read_jwks_settings({name: text})
