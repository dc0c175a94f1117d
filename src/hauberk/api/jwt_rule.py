"""One issuer of tokens, as a RequestAuthentication names it (S-J3 to S-J7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hauberk.api.duration import Duration
from hauberk.api.model import ApiModel, Bool

DEFAULT_TIMEOUT: Final = timedelta(seconds=5)  # for fetching keys


class JwtHeader(ApiModel):
    """A header in which a token may stand, after `prefix`."""

    name: str
    prefix: str = ""


class ClaimToHeader(ApiModel):
    """A claim of a verified token (`a.b` inside another) that is passed on to the program in a header."""

    header: str
    claim: str


class JwtRule(ApiModel):
    """Tokens of one issuer. Without any of the three `from_` fields: `Authorization: Bearer …`, then the parameter access_token."""

    issuer: str = ""
    audiences: tuple[str, ...] = ()  # empty: any audience
    jwks_uri: str = ""
    jwks: str = ""  # wins over jwks_uri; with neither, the issuer says where its keys are (OpenID Connect discovery)
    from_headers: tuple[JwtHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    forward_original_token: Bool = False
    timeout: Duration = DEFAULT_TIMEOUT
    space_delimited_claims: tuple[str, ...] = ()  # beside `scope` and `permission`, which always are

    @property
    def has_locations(self) -> bool:
        """It says where tokens stand, so that the two usual places do not count."""
        return bool(self.from_headers or self.from_params or self.from_cookies)
