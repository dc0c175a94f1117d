"""Other trust domains, and web servers with certificates of a public authority, as federation meets them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hauberk.citadel.endpoint_identity import server_context
from hauberk.citadel.serials import next_serial
from hauberk.identity.bundle_document import encode_bundle
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import build_leaf, build_root
from hauberk.identity.trust import ForeignBundle
from hauberk.identity.trust_bundle import to_pem

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
DAY = timedelta(days=1)
KeyPair = tuple[bytes, bytes]


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Domain:
    """A trust domain with one root."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = datetime.now(UTC)
        self.key = new_key()
        template = build_root(trust_domain=name, public_key=self.key.public_key(), serial=next_serial(), now=self.now, lifetime=DAY)
        self.root = template.sign(self.key, hashes.SHA256())

    def bundle(self, sequence: int = 1, *, hint: float = 300, roots: Sequence[x509.Certificate] | None = None) -> ForeignBundle:
        authorities = (self.root,) if roots is None else tuple(roots)
        return ForeignBundle(trust_domain=self.name, x509_authorities=authorities, sequence=sequence, refresh_hint=timedelta(seconds=hint))

    def document(self, sequence: int = 1, *, hint: float = 300, roots: Sequence[x509.Certificate] | None = None) -> bytes:
        return encode_bundle(self.bundle(sequence, hint=hint, roots=roots))

    def svid(self, path: str = "/hauberk/bundle-endpoint", *, domain: str = "") -> KeyPair:
        """A chain of one and its key; `domain` is whose name it claims."""
        key = new_key()
        template = build_leaf(
            spiffe_id=SpiffeId(domain or self.name, path),
            public_key=key.public_key(),
            issuer=self.root,
            serial=next_serial(),
            now=self.now,
            lifetime=timedelta(hours=1),
        )
        return to_pem(template.sign(self.key, hashes.SHA256())).encode(), key_pem(key)


class WebAuthority:
    """An authority that signs host names."""

    def __init__(self) -> None:
        self.key = new_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web authority")])
        self.certificate = self._build(self.name, self.key.public_key(), ca=True, names=None)

    def issue(self, *names: str) -> KeyPair:
        key = new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])  # must not count: only alternative names do
        return to_pem(self._build(subject, key.public_key(), ca=False, names=names)).encode(), key_pem(key)

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool, names: Sequence[str] | None) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(next_serial())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tls_server(pair: KeyPair, handle: Handle) -> AsyncIterator[int]:
    """A server on 127.0.0.1 that leaves what it says to `handle`; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=_context(pair))
    async with server:
        yield server.sockets[0].getsockname()[1]


def _context(pair: KeyPair) -> ssl.SSLContext:
    return server_context(*pair)


def answering(body: bytes, status: str = "200 OK", **fields: str) -> Handle:
    """Answers every request so."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return handle
