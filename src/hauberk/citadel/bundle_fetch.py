"""Fetches a foreign bundle (SPIFFE Federation, 5): over TLS that proves the server by one of two profiles, within limits."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from hauberk.identity.bundle_document import MAX_BYTES
from hauberk.identity.spiffe_id import SpiffeId
from hauberk.identity.svid import InvalidSvid, leaf_spiffe_id
from hauberk.identity.trust_bundle import to_pem
from hauberk.kit.networks import Network, Reach
from hauberk.kit.web_fetch import FetchFailed, FetchLimits, WebServer, fetch, strict
from hauberk.kit.web_url import InvalidUrl, WebUrl, parse_url

SECONDS: Final = 10.0  # for all of one fetch, redirects included
REDIRECTS: Final = 5
_WHAT: Final = "a bundle endpoint's URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeServer:
    """Whoever holds an X509-SVID for exactly `spiffe_id` by `authorities`, which are the latest known of its trust domain."""

    spiffe_id: SpiffeId
    authorities: Sequence[x509.Certificate]

    def context(self) -> ssl.SSLContext:
        """A context that completes a handshake with members of the trust domain only; which one is checked after it."""
        if not self.authorities:
            raise FetchFailed(f"no authority of trust domain {self.spiffe_id.trust_domain} is known that could vouch for the endpoint")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        # A bundle's authorities are trusted as they are, also one that another has signed.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata="".join(to_pem(each) for each in self.authorities))
        return strict(context)

    def check(self, leaf: bytes) -> None:
        """`leaf`, whose chain is proven, is an SVID of the one who must be there; raises FetchFailed."""
        try:
            found = leaf_spiffe_id(x509.load_der_x509_certificate(leaf))
        except InvalidSvid as exc:
            raise FetchFailed(f"the endpoint's certificate is no X509-SVID: {exc}") from exc
        if found != self.spiffe_id:
            raise FetchFailed(f"the endpoint is {found}, not {self.spiffe_id}")


Server = WebServer | SpiffeServer


def bundle_url(text: str) -> WebUrl:
    """The URL in `text`; raises InvalidUrl. Scheme https, no user information (SPIFFE Federation, 5.1)."""
    return parse_url(text, _WHAT)


async def fetch_bundle(url: str, server: Server, allowed: Sequence[Network] = (), *, seconds: float = SECONDS) -> bytes:
    """The newest document at `url`, served by `server`; raises FetchFailed. Redirects are followed, not remembered, and prove the same."""
    limits = FetchLimits(size=MAX_BYTES, reach=Reach(tuple(allowed)).includes, redirects=REDIRECTS)
    try:
        async with asyncio.timeout(seconds):
            return await fetch(bundle_url(url), server, limits, _WHAT)
    except TimeoutError as exc:
        raise FetchFailed(f"no whole answer within {seconds:g} s") from exc
    except InvalidUrl as exc:
        raise FetchFailed(str(exc)) from exc
