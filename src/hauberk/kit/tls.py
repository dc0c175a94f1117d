"""TLS 1.3 between processes of one owner, from keys in memory: contexts without a default that somebody else chose."""

import os
import secrets
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key


class PeerRefused(Exception):
    """The other end of a connection is not who it must be, or does not want us; the message says why.

    `farewell` is what it is sent before it is turned away.
    """

    def __init__(self, reason: str, farewell: bytes = b"") -> None:
        super().__init__(reason)
        self.farewell = farewell


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What one end proves itself with. The key is in no repr."""

    chain_pem: str  # leaf first
    key_pem: bytes = field(repr=False)


def server_context(credentials: Credentials, roots: Sequence[str], protocols: Sequence[str], scratch: Path) -> ssl.SSLContext:
    """Shows `credentials`, asks callers for theirs and checks them against `roots` (PEM); who shows none is let in by this layer.

    No session tickets: a resumed session would skip the check of a certificate that has meanwhile expired or been revoked.
    `scratch`: a directory that nobody else can look into.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    _load(context, credentials, scratch)
    return _finish(context, roots, protocols)


def client_context(credentials: Credentials | None, roots: Sequence[str], protocols: Sequence[str], scratch: Path) -> ssl.SSLContext:
    """Believes only what `roots` (PEM) signed. Names are not checked here: who must be at the other end is no host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if credentials is not None:
        _load(context, credentials, scratch)
    return _finish(context, roots, protocols)


def _finish(context: ssl.SSLContext, roots: Sequence[str], protocols: Sequence[str]) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(list(protocols))
    if roots:
        context.load_verify_locations(cadata="\n".join(roots))
    return context


def _load(context: ssl.SSLContext, credentials: Credentials, scratch: Path) -> None:
    # Python's ssl reads keys from files only. Not one of memory alone: a process that forbids to be looked into cannot open such
    # files of its own by name. So it is a file for as long as it takes to read it, where only this user looks, and of no use to who
    # finds it where a process was killed meanwhile: what opens it is in memory alone.
    password = secrets.token_bytes(32).hex().encode()
    key = load_pem_private_key(credentials.key_pem, password=None)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    descriptor, name = tempfile.mkstemp(prefix=".tls-", dir=scratch)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(credentials.chain_pem.encode() + sealed)
        context.load_cert_chain(name, password=password)
    finally:
        Path(name).unlink(missing_ok=True)
