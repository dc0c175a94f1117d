"""What every agent is told: whom to believe, whom not any more, and what to renew.

Bundles of foreign trust domains stand beside ours and are never merged with it (SPIFFE Federation: an authority of one domain
must not vouch for names of another).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message import DecodeError

from hauberk.identity.trust_bundle import TrustBundle
from hauberk.identity.wire import InvalidMessage
from hauberk.identity.wire_schema import message

REFRESH_HINT: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtKey:
    """A public key that verifies JWT-SVIDs; `jwk` is its JSON (RFC 7517) with `kid` and `use`."""

    key_id: str
    jwk: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """Who is not believed though his certificate is valid: serials (32 hexadecimal digits), SPIFFE IDs, uids of pods.

    `serials` are those of revoked pods and identities too, as far as they are known. `holders` says of each serial which pod (uid)
    holds it; empty: somebody outside of all pods.
    """

    serials: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()
    pods: frozenset[str] = frozenset()
    holders: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignBundle:
    """The authorities of another trust domain, good for names of that domain only. `sequence` is the domain's own; 0: it has none."""

    trust_domain: str
    x509_authorities: tuple[x509.Certificate, ...] = ()
    jwt_keys: tuple[JwtKey, ...] = ()
    sequence: int = 0
    refresh_hint: timedelta = REFRESH_HINT


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The whole of it. `sequence` grows whenever anything else of it has changed, and never goes back.

    `renew`: ids of authorities (`IssueReply.authority_id`) whose leaves are to be renewed now, spread over a short window.
    `renewal_window`: over how long all holders of the mesh together spread what they ask for at the same time; nothing: it is not known.
    `aliases`: further names of our own trust domain, while it is renamed; who has a certificate with one of them is one of us.
    """

    sequence: int
    trust_domain: str
    x509_authorities: tuple[x509.Certificate, ...] = ()
    jwt_keys: tuple[JwtKey, ...] = ()
    crls: tuple[bytes, ...] = ()  # DER
    revoked: Revoked = field(default_factory=Revoked)
    federated: tuple[ForeignBundle, ...] = ()
    renew: frozenset[str] = frozenset()
    refresh_hint: timedelta = REFRESH_HINT
    aliases: tuple[str, ...] = ()
    renewal_window: timedelta = timedelta()

    @property
    def others(self) -> tuple[ForeignBundle, ...]:
        """The bundle of every further trust domain that is believed: of the foreign ones, and ours again under each of our other names."""
        ours = (
            ForeignBundle(
                trust_domain=alias,
                x509_authorities=self.x509_authorities,
                jwt_keys=self.jwt_keys,
                sequence=self.sequence,
                refresh_hint=self.refresh_hint,
            )
            for alias in self.aliases
        )
        # Our own names are nobody else's: whoever was federated under one of them is not believed.
        return (*ours, *(each for each in self.federated if each.trust_domain not in (self.trust_domain, *self.aliases)))

    @property
    def bundle(self) -> TrustBundle:
        """Our own domain's roots."""
        return TrustBundle(trust_domain=self.trust_domain, authorities=self.x509_authorities)

    def to_wire(self) -> bytes:
        """The same Trust is always the same bytes: sets are sorted."""
        encoded: bytes = message("Trust")(
            sequence=self.sequence,
            trust_domain=self.trust_domain,
            x509_authorities=[_der(each) for each in self.x509_authorities],
            jwt_keys=[_jwt_key(each) for each in self.jwt_keys],
            crls=self.crls,
            revoked=_revoked(self.revoked),
            federated=[_foreign(each) for each in self.federated],
            renew=sorted(self.renew),
            refresh_hint_seconds=self.refresh_hint // timedelta(seconds=1),
            aliases=self.aliases,
            renewal_window_seconds=self.renewal_window // timedelta(seconds=1),
        ).SerializeToString(deterministic=True)
        return encoded

    @classmethod
    def from_wire(cls, data: bytes) -> Self:
        """The Trust in `data`; raises InvalidMessage if it is none, or a certificate in it cannot be read."""
        try:
            read: Any = message("Trust").FromString(data)
            return cls(
                sequence=read.sequence,
                trust_domain=read.trust_domain,
                x509_authorities=_certificates(read.x509_authorities),
                jwt_keys=_jwt_keys(read.jwt_keys),
                crls=tuple(read.crls),
                revoked=Revoked(
                    serials=frozenset(read.revoked.serials),
                    identities=frozenset(read.revoked.identities),
                    pods=frozenset(read.revoked.pods),
                    holders=frozenset((each.serial, each.pod) for each in read.revoked.holders),
                ),
                federated=tuple(_read_foreign(each) for each in read.federated),
                renew=frozenset(read.renew),
                refresh_hint=timedelta(seconds=read.refresh_hint_seconds),
                aliases=tuple(read.aliases),
                renewal_window=timedelta(seconds=read.renewal_window_seconds),
            )
        except (DecodeError, ValueError, OverflowError) as exc:
            raise InvalidMessage("not a Trust, or one with a certificate that cannot be read") from exc


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _certificates(ders: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_der_x509_certificate(der) for der in ders)


def _jwt_key(key: JwtKey) -> Any:
    return message("JwtKey")(key_id=key.key_id, jwk=key.jwk)


def _jwt_keys(read: Iterable[Any]) -> tuple[JwtKey, ...]:
    return tuple(JwtKey(key_id=each.key_id, jwk=each.jwk) for each in read)


def _revoked(revoked: Revoked) -> Any:
    return message("Revoked")(
        serials=sorted(revoked.serials),
        identities=sorted(revoked.identities),
        pods=sorted(revoked.pods),
        holders=[message("HeldSerial")(serial=serial, pod=pod) for serial, pod in sorted(revoked.holders)],
    )


def _foreign(bundle: ForeignBundle) -> Any:
    return message("ForeignBundle")(
        trust_domain=bundle.trust_domain,
        x509_authorities=[_der(each) for each in bundle.x509_authorities],
        jwt_keys=[_jwt_key(each) for each in bundle.jwt_keys],
        sequence=bundle.sequence,
        refresh_hint_seconds=bundle.refresh_hint // timedelta(seconds=1),
    )


def _read_foreign(read: Any) -> ForeignBundle:
    return ForeignBundle(
        trust_domain=read.trust_domain,
        x509_authorities=_certificates(read.x509_authorities),
        jwt_keys=_jwt_keys(read.jwt_keys),
        sequence=read.sequence,
        refresh_hint=timedelta(seconds=read.refresh_hint_seconds),
    )
