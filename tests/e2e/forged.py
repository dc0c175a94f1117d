"""Certificates as an attacker would have them: everything of them can be chosen, also what an authority would never sign."""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

Oid = ExtendedKeyUsageOID
BOTH = (Oid.SERVER_AUTH, Oid.CLIENT_AUTH)
_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)
_PRE_SHARED_KEY = 41  # TLS extension by which a client offers to go on with an old session


@dataclass(frozen=True)
class Certified:
    """A certificate with its key; `chain` are the certificates above it as its holder would show them."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def chain_pem(self) -> bytes:
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def authority(name: str, signer: Certified | None = None, *, is_authority: bool = True, below: int | None = None) -> Certified:
    """A root, or what `signer` made an intermediate, which may have `below` authorities below it.

    With `is_authority` false its certificate says that it is none.
    """
    return _sign(signer, name, [], is_authority=is_authority, below=below)


def leaf(
    signer: Certified | None,
    *names: str,
    start: datetime.timedelta = -datetime.timedelta(minutes=1),
    life: datetime.timedelta = datetime.timedelta(hours=1),
    usages: Iterable[x509.ObjectIdentifier] = BOTH,
    is_authority: bool = False,
) -> Certified:
    """A certificate with URIs `names`, signed by itself without a `signer`; one of an authority is for signing certificates only."""
    return _sign(signer, "a leaf", names, is_authority=is_authority, start=start, life=life, usages=usages)


def _sign(
    signer: Certified | None,
    name: str,
    uris: Iterable[str],
    *,
    is_authority: bool = False,
    below: int | None = None,
    start: datetime.timedelta = -datetime.timedelta(hours=1),
    life: datetime.timedelta = datetime.timedelta(days=1),
    usages: Iterable[x509.ObjectIdentifier] = (),
) -> Certified:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)])
    begin = datetime.datetime.now(datetime.UTC) + start
    usage = {"key_cert_sign": True, "crl_sign": True} if is_authority else {"digital_signature": True}
    builder = (
        x509.CertificateBuilder(
            signer.certificate.subject if signer else subject, subject, key.public_key(), x509.random_serial_number(), begin, begin + life
        )
        .add_extension(x509.BasicConstraints(is_authority, below), True)
        .add_extension(x509.KeyUsage(**{**_USAGE, **usage}), True)
    )
    found = [x509.UniformResourceIdentifier(uri) for uri in uris]
    if found:
        builder = builder.add_extension(x509.SubjectAlternativeName(found), False)
    allowed = list(usages)
    if allowed:
        builder = builder.add_extension(x509.ExtendedKeyUsage(allowed), False)
    # A root stays outside of the chains of those below it.
    above = tuple(each for each in (signer.certificate, *signer.chain) if each.issuer != each.subject) if signer else ()
    return Certified(builder.sign(signer.key if signer else key, hashes.SHA256()), key, above)


def context(server: bool, shown: Certified | None, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """TLS of somebody who believes everybody and shows `shown`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    # The oldest versions are off in OpenSSL's own settings.
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    if newest is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that they are not to be used is what is tried
            made.minimum_version, made.maximum_version = ssl.TLSVersion.TLSv1, newest
    if shown is not None:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(shown.chain_pem + shown.key_pem)
            made.load_cert_chain(file.name)
    return made


@contextmanager
def shaken(connection: socket.socket, tls: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Iterator[ssl.SSLSocket | None]:
    """`connection` after its handshake as a client; None if it was refused in it."""
    with connection:
        wrapped: ssl.SSLSocket | None = None
        with suppress(OSError):
            wrapped = tls.wrap_socket(connection, server_hostname="web", session=session)
        yield wrapped
        if wrapped is not None:
            wrapped.close()


def answered(connection: socket.socket, tls: ssl.SSLContext, say: bytes = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n") -> bytes:
    """The first bytes that come back for `say`; none if it is refused, in the handshake or after it."""
    with shaken(connection, tls) as wrapped, suppress(OSError):
        if wrapped is not None:
            wrapped.settimeout(5)
            wrapped.sendall(say)
            return wrapped.recv(4096)
    return b""


def extensions(hello: bytes) -> tuple[int, ...]:
    """Types of the extensions in a TLS record with a ClientHello (RFC 8446, 4.1.2)."""
    at = 5 + 4 + 2 + 32  # the record's and the message's head, version, random
    at += 1 + hello[at]  # session
    at += 2 + struct.unpack_from("!H", hello, at)[0]  # suites
    at += 1 + hello[at]  # compression
    end = at + 2 + struct.unpack_from("!H", hello, at)[0]
    at, found = at + 2, []
    while at < end:
        kind, length = struct.unpack_from("!HH", hello, at)
        found.append(kind)
        at += 4 + length
    return tuple(found)


def offers_resumption(hello: bytes) -> bool:
    """Whether a ClientHello offers to go on with an old session."""
    return _PRE_SHARED_KEY in extensions(hello)


def peek_hello(connection: socket.socket) -> bytes:
    """The whole first record that came, left where it is."""
    head = connection.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL)
    (length,) = struct.unpack_from("!H", head, 3)
    return connection.recv(5 + length, socket.MSG_PEEK | socket.MSG_WAITALL)
