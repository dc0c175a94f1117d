"""The way from a machine that has joined to its control plane: which address, what is shown, and who must answer."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from hauberk.citadel.nodes import control_plane_id
from hauberk.identity.svid import InvalidSvid, leaf_spiffe_id
from hauberk.kit.pump import Stream
from hauberk.kit.tls import Credentials, PeerRefused, client_context
from hauberk.kit.tls_forwarder import dial_tls
from hauberk.local.remote_listen import Address, format_address

_NOWHERE: Final = "no address of the control plane is known"


class Way:
    """Dials the control plane of `trust_domain`. `show` and `roots` are asked for every connection."""

    def __init__(
        self,
        trust_domain: str,
        addresses: Callable[[], Sequence[Address]],
        show: Callable[[], Credentials | None],
        roots: Callable[[], tuple[str, ...]],
        scratch: Path,
    ) -> None:
        self._scratch = scratch
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

    def _context(self, protocol: str) -> ssl.SSLContext:
        show, roots = self._show(), self._roots()
        made = self._made.get(protocol)
        if made is None or (made[0], made[1]) != (show, roots):
            made = self._made[protocol] = show, roots, client_context(show, roots, (protocol,), self._scratch)
        return made[2]

    def _check(self, certificate: bytes, address: Address) -> None:
        # Its chain has been checked; but every pod of the mesh has a certificate of the same authority.
        try:
            found = leaf_spiffe_id(x509.load_der_x509_certificate(certificate))
        except (ValueError, InvalidSvid) as exc:
            raise PeerRefused(f"who answers at {format_address(address)} is not the control plane: {exc}") from exc
        if found != self._expected:
            raise PeerRefused(f"who answers at {format_address(address)} is not the control plane but {found}")
