"""The TLS door and the forwarder to it: real TLS on the loopback interface, an echo behind the door."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from hauberk.kit import tls_door
from hauberk.kit.pump import Stream
from hauberk.kit.tls import Credentials, PeerRefused, client_context, server_context
from hauberk.kit.tls_door import Admitted, TlsDoor, Visitor, listen_tcp
from hauberk.kit.tls_forwarder import UNANSWERED, TlsForwarder, describe, dial_tls

NOW = datetime.now(UTC)
PROTOCOLS = ("echo/1",)


@dataclass(frozen=True)
class Maker:
    """A certificate authority of a test."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def root(self) -> str:
        return self._sign("root", self.key, authority=True, ends=NOW + timedelta(hours=1)).public_bytes(Encoding.PEM).decode()

    def credentials(self, name: str, ends: datetime = NOW + timedelta(hours=1)) -> Credentials:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key, authority=False, ends=ends)
        return Credentials(
            chain_pem=certificate.public_bytes(Encoding.PEM).decode(),
            key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool, ends: datetime) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(_named(name)).issuer_name(_named("root")).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(NOW - timedelta(days=1)).not_valid_after(ends)
        return builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True).sign(self.key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def name_of(der: bytes | None) -> str:
    if not der:
        return "nobody"
    return str(x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@dataclass
class Place:
    """A door with an echo behind it."""

    door: TlsDoor
    port: int
    maker: Maker
    visitors: list[Visitor]
    scratch: Path

    async def dial(self, credentials: Credentials | None, check: Callable[[bytes], None] = lambda _: None) -> Stream:
        return await dial_tls(("127.0.0.1", self.port), client_context(credentials, [self.maker.root], PROTOCOLS, self.scratch), check)


@asynccontextmanager
async def opened(tmp_path: Path, seconds: float = 60.0, **limits: int) -> AsyncIterator[Place]:
    maker, visitors = Maker(), list[Visitor]()
    context = server_context(maker.credentials("server"), [maker.root], PROTOCOLS, tmp_path)

    async def admit(visitor: Visitor) -> Admitted:
        visitors.append(visitor)
        if (name := name_of(visitor.certificate)) == "nobody":
            raise PeerRefused("shows no certificate", b"farewell")
        return Admitted(path=tmp_path / "echo.sock", owner=name, seconds=seconds, **limits)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1000):
            writer.write(piece)
        writer.close()

    listener = listen_tcp(("127.0.0.1", 0))
    door = TlsDoor(lambda: context, admit)
    port = listener.getsockname()[1]
    async with await asyncio.start_unix_server(echo, tmp_path / "echo.sock"):
        serving = asyncio.create_task(door.serve(listener))
        yield Place(door, port, maker, visitors, tmp_path)
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def names_in(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


async def knock(path: Path) -> Stream:
    """A connection to the socket, as soon as somebody listens."""
    async with asyncio.timeout(10):
        while True:
            with suppress(OSError):
                return await asyncio.open_unix_connection(str(path))
            await asyncio.sleep(0.01)


async def answer(stream: Stream, text: bytes = b"hello") -> bytes:
    with suppress(ConnectionError):
        stream[1].write(text)
        async with asyncio.timeout(10):
            return await stream[0].read(len(text))
    return b""


async def test_bytes_of_a_known_caller_reach_the_socket_behind_the_door(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        stream = await place.dial(place.maker.credentials("n2"))
        assert await answer(stream) == b"hello"
        assert place.door.guests() == {"n2": 1}
        assert names_in(tmp_path) == ["echo.sock"]  # no key is left behind
        assert [(name_of(each.certificate), each.protocol, each.address) for each in place.visitors] == [("n2", "echo/1", "127.0.0.1")]
        stream[1].close()


async def test_large_data_passes_whole_in_both_directions(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        reader, writer = await place.dial(place.maker.credentials("n2"))
        sent = bytes(range(256)) * 8192
        writer.write(sent)
        async with asyncio.timeout(20):
            assert await reader.readexactly(len(sent)) == sent
        writer.close()


async def test_a_caller_without_a_certificate_is_shown_to_whoever_admits(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        assert await answer(await place.dial(None)) == b"farew"  # as many bytes as were sent
        assert place.visitors[0].certificate is None


def test_the_key_that_a_killed_process_leaves_on_disk_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # it was killed before
    maker = Maker()
    credentials = maker.credentials("n2")
    client_context(credentials, [maker.root], PROTOCOLS, tmp_path)
    (left,) = tmp_path.glob(".tls-*")
    with pytest.raises(TypeError, match="encrypted"):
        load_pem_private_key(left.read_bytes(), password=None)
    assert credentials.key_pem not in left.read_bytes()


@pytest.mark.parametrize("flaw", ["another authority", "expired"])
async def test_a_certificate_that_proves_nothing_admits_nobody(tmp_path: Path, flaw: str) -> None:
    async with opened(tmp_path) as place:
        bad = Maker().credentials("n2") if flaw == "another authority" else place.maker.credentials("n2", NOW - timedelta(hours=1))
        assert await answer(await place.dial(bad)) == b""
        assert place.visitors == []


async def test_a_server_of_another_authority_is_not_believed(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        context = client_context(place.maker.credentials("n2"), [Maker().root], PROTOCOLS, tmp_path)
        with pytest.raises(ssl.SSLCertVerificationError) as failed:
            await dial_tls(("127.0.0.1", place.port), context, lambda _: None)
        assert describe(failed.value).startswith("its certificate is not trusted")
        assert place.visitors == []


async def test_a_server_that_is_somebody_else_hears_nothing(tmp_path: Path) -> None:
    def check(der: bytes) -> None:
        raise PeerRefused(f"{name_of(der)} answers")

    async with opened(tmp_path) as place:
        with pytest.raises(PeerRefused, match="server answers"):
            await place.dial(place.maker.credentials("n2"), check)


async def test_tls_1_2_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        context = client_context(place.maker.credentials("n2"), [place.maker.root], PROTOCOLS, tmp_path)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await dial_tls(("127.0.0.1", place.port), context, lambda _: None)


async def test_who_is_shown_out_loses_every_connection_and_others_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        ours, theirs = [await place.dial(place.maker.credentials(name)) for name in ("n2", "n3")]
        assert (await answer(ours), await answer(theirs)) == (b"hello", b"hello")
        assert place.door.show_out("n2") == 1
        async with asyncio.timeout(10):
            assert await ours[0].read() == b""
        assert await answer(theirs) == b"hello"
        assert place.door.guests() == {"n3": 1}
        theirs[1].close()


async def test_no_connection_outlives_what_it_was_admitted_for(tmp_path: Path) -> None:
    async with opened(tmp_path, seconds=0.2) as place:
        reader, _ = await place.dial(place.maker.credentials("n2"))
        async with asyncio.timeout(10):
            assert await reader.read() == b""


@pytest.mark.parametrize("limits", [{"most": 2}, {"most": 3, "most_here": 2}])
async def test_who_has_too_many_connections_gets_no_other_until_one_ends(tmp_path: Path, limits: dict[str, int]) -> None:
    async with opened(tmp_path, **limits) as place:
        credentials = place.maker.credentials("n2")
        first, second = [await place.dial(credentials) for _ in range(2)]
        assert (await answer(first), await answer(second)) == (b"hello", b"hello")
        assert await answer(await place.dial(credentials)) == b""
        assert await answer(await place.dial(place.maker.credentials("n3"))) == b"hello"
        first[1].close()
        async with asyncio.timeout(10):
            while await answer(await place.dial(credentials)) != b"hello":
                pass


async def test_who_only_begins_handshakes_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_door, "HANDSHAKES_EACH", 4)
    async with opened(tmp_path) as place:
        idle = [await asyncio.open_connection("127.0.0.1", place.port) for _ in range(5)]
        async with asyncio.timeout(10):
            assert await idle[-1][0].read() == b""  # the fifth is turned away at once; those before it after their time
        for _, writer in idle:
            writer.close()


async def test_the_forwarder_leads_from_a_local_socket_to_the_door(tmp_path: Path) -> None:
    told: list[str | None] = []
    async with opened(tmp_path) as place:
        credentials = place.maker.credentials("n2")
        forwarder = TlsForwarder(tmp_path / "here.sock", lambda: place.dial(credentials), told.append)
        serving = asyncio.create_task(forwarder.serve())
        stream = await knock(tmp_path / "here.sock")
        assert await answer(stream) == b"hello"
        forwarder.renew()
        async with asyncio.timeout(10):
            assert await stream[0].read() == b""
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert not (tmp_path / "here.sock").exists()


async def test_the_forwarder_tells_why_it_does_not_reach_the_door(tmp_path: Path) -> None:
    told: list[str | None] = []
    async with opened(tmp_path) as place:
        old = place.maker.credentials("n2", NOW - timedelta(hours=1))
        forwarder = TlsForwarder(tmp_path / "here.sock", lambda: place.dial(old), told.append)
        serving = asyncio.create_task(forwarder.serve())
        assert await answer(await knock(tmp_path / "here.sock")) == b""
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert told == [UNANSWERED]
