"""The way from a machine that has joined to its control plane: which address, what is shown, and who must answer."""

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from hauberk.citadel.nodes import control_plane_id
from hauberk.identity.svid import InvalidSvid, leaf_spiffe_id
from hauberk.kit.pump import Stream, close
from hauberk.kit.tls import Credentials, PeerRefused, client_context
from hauberk.kit.tls_forwarder import UNANSWERED, describe, dial_tls
from hauberk.kit.unix_http import encode_request, parse_head
from hauberk.local.remote_doors import API
from hauberk.local.remote_listen import Address, format_address

_NOWHERE: Final = "no address of the control plane is known"
_ANSWER_SECONDS: Final = 10.0
_TURNED_AWAY: Final = 403
_SERVER_ERROR: Final = 500
_STARTING: Final = 503  # it is there, and will be ready


def _understood(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return f"the control plane is not reached: {UNANSWERED}"
    try:
        status = parse_head(head).status
        told = json.loads(body) if status == _TURNED_AWAY else {}
    except ValueError:
        return "who answers for the control plane speaks no HTTP"
    if status == _TURNED_AWAY:
        return f"the control plane turns this machine away: {told['problems'][0]['message']}"
    return "" if status < _SERVER_ERROR or status == _STARTING else f"the control plane answers with status {status}"


class Way:
    """Dials the control plane of `trust_domain`. `show` and `roots` are asked for every connection, and whether a serial is revoked."""

    def __init__(
        self,
        trust_domain: str,
        addresses: Callable[[], Sequence[Address]],
        show: Callable[[], Credentials | None],
        roots: Callable[[], tuple[str, ...]],
        scratch: Path,
        *,
        is_revoked: Callable[[str], bool] = lambda _serial: False,
    ) -> None:
        self._scratch = scratch
        self._is_revoked = is_revoked
        self._expected = control_plane_id(trust_domain)
        self._addresses = addresses
        self._show = show
        self._roots = roots
        self._made: dict[str, tuple[Credentials | None, tuple[str, ...], ssl.SSLContext]] = {}

    async def dial(self, protocol: str) -> Stream:
        """A connection to the control plane, and to nobody else; raises OSError, TimeoutError or PeerRefused."""
        failure: Exception = PeerRefused(_NOWHERE)
        for address in self._addresses():
            try:
                return await dial_tls(address, self._context(protocol), lambda der, at=address: self._check(der, at))  # type: ignore[misc]
            except (OSError, TimeoutError, PeerRefused) as error:
                failure = error
        raise failure

    async def refusal(self) -> str:
        """Why the control plane would not serve us now; empty: it would. It is asked what it answers to each of its agents."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reader, writer = await self.dial(API)
                try:
                    writer.write(encode_request("GET", "/v1/readyz", None, None))
                    answer = await reader.read()
                finally:
                    close(writer)
        except (OSError, TimeoutError, PeerRefused) as error:
            return f"the control plane is not reached: {describe(error)}"
        return _understood(answer)

    def _context(self, protocol: str) -> ssl.SSLContext:
        show, roots = self._show(), self._roots()
        made = self._made.get(protocol)
        if made is None or (made[0], made[1]) != (show, roots):
            made = self._made[protocol] = show, roots, client_context(show, roots, (protocol,), self._scratch)
        return made[2]

    def _check(self, certificate: bytes, address: Address) -> None:
        # Its chain has been checked; but every pod of the mesh has a certificate of the same authority.
        try:
            leaf = x509.load_der_x509_certificate(certificate)
            found = leaf_spiffe_id(leaf)
        except (ValueError, InvalidSvid) as exc:
            raise PeerRefused(f"who answers at {format_address(address)} is not the control plane: {exc}") from exc
        if found != self._expected:
            raise PeerRefused(f"who answers at {format_address(address)} is not the control plane but {found}")
        if self._is_revoked(serial := f"{leaf.serial_number:032x}"):
            raise PeerRefused(f"who answers at {format_address(address)} shows the certificate {serial}, which was revoked")
