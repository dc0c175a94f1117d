"""Federation: which other trust domains are believed, where their bundles come from, and which new bundle is taken. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hauberk.identity.bundle_document import InvalidBundle, ParsedBundle, parse_bundle
from hauberk.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from hauberk.identity.trust import ForeignBundle

# Policies say `cluster.local` for the mesh's own domain, whatever it is called.
_OURS_ANYWAY: Final = "cluster.local"
SOONEST: Final = timedelta(seconds=30)  # between two polls, whatever the hint: others must not set our pace of work
LATEST: Final = timedelta(days=1)


class FederationRefused(ValueError):
    """A trust domain is not federated as it was asked for; `hint` says what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class Profile(StrEnum):
    """How the server of a bundle proves itself (SPIFFE Federation, 5.2)."""

    WEB = "https_web"  # a certificate for its host name, of an authority that this machine believes
    SPIFFE = "https_spiffe"  # an X509-SVID for one configured SPIFFE ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where bundles of `trust_domain` come from: `url` empty means from nowhere, only a file was given once.

    `endpoint_id` is who must serve `url` with profile https_spiffe.
    """

    trust_domain: str
    url: str = ""
    profile: Profile = Profile.WEB
    endpoint_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Federated:
    """A trust domain with its last good bundle (the `document` as it came) and how it went since.

    `fetched`: when the document was last confirmed to be the newest; `problem`: why it could not be since; empty: it could.
    """

    source: Source
    document: bytes = field(repr=False)
    parsed: ParsedBundle = field(repr=False)
    fetched: datetime
    problem: str = ""

    @property
    def trust_domain(self) -> str:
        return self.source.trust_domain

    @property
    def bundle(self) -> ForeignBundle:
        """What is believed of the domain."""
        return self.parsed.bundle


def check_source(source: Source, ours: tuple[str, ...]) -> None:
    """`source` may be federated by a mesh whose trust domain has the names `ours`; raises FederationRefused."""
    name = source.trust_domain
    try:
        SpiffeId(name)
    except InvalidSpiffeId as exc:
        raise FederationRefused(f"{name[:80]!r} is no trust domain: {exc}", "give the name without spiffe://, as in b.example") from exc
    if name in ours:
        raise FederationRefused(f"{name} is this mesh's own trust domain", "name the other mesh's; each must have a name of its own")
    if name == _OURS_ANYWAY:
        reason = f"policies say {_OURS_ANYWAY} for the mesh's own trust domain, so a foreign one of that name could not be told from it"
        raise FederationRefused(reason, "give the other mesh a trust domain of its own (see the migration of trust domains)")
    if not source.url or source.profile is Profile.WEB:
        if source.endpoint_id:
            raise FederationRefused(
                "an endpoint's SPIFFE ID is for the profile https_spiffe", "add --profile https_spiffe, or leave it out"
            )
        return
    try:
        SpiffeId.parse(source.endpoint_id)
    except InvalidSpiffeId as exc:
        raise FederationRefused(f"{source.endpoint_id[:80]!r} is no endpoint's SPIFFE ID: {exc}", "give it with --endpoint-id") from exc


def endpoint_domain(source: Source) -> str:
    """The trust domain whose bundle proves who serves `source`, which uses https_spiffe."""
    return SpiffeId.parse(source.endpoint_id).trust_domain


def accept_bundle(data: bytes, trust_domain: str, current: ParsedBundle | None) -> ParsedBundle:
    """The bundle in `data`, if it may follow `current`; raises InvalidBundle. Equal sequences are no step back.

    An endpoint that goes back, or stops counting, shows an old copy: keys that were withdrawn since would be believed again.
    """
    parsed = parse_bundle(data, trust_domain)
    if current is None or not current.has_sequence:
        return parsed
    if not parsed.has_sequence:
        raise InvalidBundle(f"it has no sequence, yet the one before had {current.bundle.sequence}")
    if parsed.bundle.sequence < current.bundle.sequence:
        raise InvalidBundle(f"its sequence {parsed.bundle.sequence} is older than {current.bundle.sequence}, which is known already")
    return parsed


def poll_interval(hint: timedelta, jitter: float, soonest: timedelta = SOONEST) -> timedelta:
    """How long after a fetch the next one is due; `jitter` from -1 to 1 spreads readers by a tenth to both sides."""
    return max(soonest, min(hint, LATEST)) * (1 + jitter / 10)
