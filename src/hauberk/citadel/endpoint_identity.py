"""What the bundle endpoint proves itself with: a certificate from files (https_web), or an SVID of its own (https_spiffe)."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hauberk.citadel.attestation import Attested
from hauberk.citadel.ground import Ground
from hauberk.citadel.issuing import Issued
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.private_file import read_private
from hauberk.citadel.state_issued import write_revoked
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.template import PublicKey
from hauberk.kit.log import logger
from hauberk.kit.web_fetch import CIPHERS

ENDPOINT_PATH: Final = "/hauberk/bundle-endpoint"
HOLDER: Final = "outside bundle endpoint"
# Short: it renews by itself, and an exchange of the root must not wait for it.
LIFETIME: Final = timedelta(hours=1)
LOOK_SECONDS: Final = 5.0  # between two looks at files, clock and roots
_REPLACED: Final = "the bundle endpoint has a newer one"

_log = logger("federation")

# A certificate for what has been attested: the authority's `issue_to`.
Issue = Callable[[Attested, PublicKey], Awaitable[Issued]]


class Identity(Protocol):
    """A TLS context that stays fresh while `run` runs; None: there is nothing yet to serve with."""

    context: ssl.SSLContext | None

    async def run(self) -> NoReturn: ...


def endpoint_id(trust_domain: str) -> SpiffeId:
    """Who serves the bundle of `trust_domain` with https_spiffe."""
    return SpiffeId(trust_domain, ENDPOINT_PATH)


class FileIdentity:
    """The certificate and key in two files, read again when either changes; what cannot be used leaves the former one."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.context: ssl.SSLContext | None = None
        self._certificate = certificate
        self._key = key
        self._seen: object = None
        self._problem = ""

    async def run(self) -> NoReturn:
        """Looks now and then, until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """The files' newest content is served, if it can be."""
        try:
            stats = tuple(path.stat() for path in (self._certificate, self._key))
            seen = tuple((stat.st_ctime_ns, stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)
            if seen != self._seen:
                self._seen = seen
                self.context = server_context(self._certificate.read_bytes(), read_private(self._key))
                self._problem = ""
                _log.info("the bundle endpoint has a certificate", certificate=str(self._certificate))
        except (OSError, ValueError, KeyUnreadable) as exc:
            if str(exc) != self._problem:
                _log.error("the bundle endpoint's certificate cannot be used", certificate=str(self._certificate), reason=str(exc))
            self._problem = str(exc)


@dataclass(frozen=True, slots=True)
class _Held:
    issued: Issued
    trust_domain: str


class SvidIdentity:
    """An SVID of our own issuer: renewed at half its life, and whenever its root or the trust domain's name goes out of use."""

    def __init__(self, ground: Ground, issue: Issue) -> None:
        self.context: ssl.SSLContext | None = None
        self._ground = ground
        self._issue = issue
        self._held: _Held | None = None

    async def run(self) -> NoReturn:
        """Renews when it is due, until cancelled; a failing authority is asked again."""
        while True:
            try:
                await self.look()
            except (PermissionError, RuntimeError, OSError) as exc:
                _log.error("the bundle endpoint has no certificate", reason=str(exc))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """What is served is not due."""
        held = self._held
        if held is not None and not self._is_due(held):
            return
        trust_domain = self._ground.publication.trust.trust_domain
        key = ec.generate_private_key(ec.SECP256R1())
        attested = Attested(spiffe_id=endpoint_id(trust_domain), holder=HOLDER, node="", lifetime=LIFETIME)
        issued = await self._issue(attested, key.public_key())
        chain = "".join(issued.chain_pem).encode()
        self.context = server_context(chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._held = _Held(issued, trust_domain)
        if held is not None:
            # Its key is gone: nobody needs to wait for its end.
            await self._ground.state.write(write_revoked(held.issued.row.serial, self._ground.clock.now(), _REPLACED))

    def _is_due(self, held: _Held) -> bool:
        trust, row = self._ground.publication.trust, held.issued.row
        half = row.not_before + (row.not_after - row.not_before) / 2
        now = self._ground.clock.now()
        return row.authority_id in trust.renew or held.trust_domain != trust.trust_domain or not row.not_before <= now < half


def server_context(chain_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """TLS as Mozilla's "intermediate" recommends; callers are not asked who they are (SPIFFE Federation, 5.2)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    # Python's ssl reads keys from files only; this one is memory, has no name, and is gone with its descriptor.
    descriptor = os.memfd_create("endpoint", os.MFD_CLOEXEC)
    try:
        content = chain_pem + b"\n" + key_pem
        while content:
            content = content[os.write(descriptor, content) :]
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
