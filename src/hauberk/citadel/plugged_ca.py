"""An authority that somebody else has signed, to be plugged in as ours: found in what was given, or refused with every reason at once.

Pure: bytes in, an authority or faults out. The root stays outside: of it only the certificate is known, and only its holder can
withdraw what was given to us.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from hauberk.citadel.key_seal import SealBroken, SealForeign, read_key
from hauberk.citadel.key_store import PrivateKey
from hauberk.citadel.plugged_rules import check_authority

_LONGEST_CHAIN = 8  # certificates: what a proxy is sent with each handshake must stay small, and its depth limit is of this order
_LARGEST = 64  # certificates in one file; more is no chain but a collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One reason why it cannot be used: where it stands, what is wrong, what to do. Never quotes a key."""

    where: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}; {self.remedy}"


class CaRefused(ValueError):
    """What was given cannot be our authority; `faults` says why."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The content of a file with the name to call it by."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluggedCa:
    """What signs leaves from now on: a key, its certificate first in `chain` (up to but without the root), and the root."""

    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate
    notes: tuple[str, ...] = ()  # what was given and is not used, and what will need attention

    @property
    def certificate(self) -> x509.Certificate:
        """The one whose key it is."""
        return self.chain[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What somebody has given: the first certificate of the first file is that of the key, the others may follow in any order.

    Without `roots` the root is among the certificates.
    """

    certificates: tuple[Named, ...]
    key: Named
    roots: Named | None = None
    passphrase: bytes | None = field(default=None, repr=False)


def read_plugged_ca(given: Given, *, trust_domain: str, now: datetime, leaf_lifetime: timedelta) -> PluggedCa:
    """The authority in what was given, sound in every respect that is checked here; raises CaRefused."""
    parsed = {each.name: _parse(each) for each in (*given.certificates, *([given.roots] if given.roots else []))}
    places = {certificate: name for name, found in reversed(parsed.items()) for certificate in found}
    anchors = frozenset(parsed[given.roots.name]) if given.roots else frozenset[x509.Certificate]()
    first, own = given.certificates[0].name, parsed[given.certificates[0].name][0]
    private = _parse_key(given.key, given.passphrase)
    if own.public_key() != private.public_key():
        raise CaRefused([_wrong_key(parsed[first], private, first, given.key.name)])
    if is_self_signed(own):
        raise CaRefused([_is_root(first)])
    chain, root = _climb(own, tuple(places), anchors, given.certificates[-1].name)
    faults = [
        Fault(where=f"{places[each]}, {describe(each)}", reason=breach.reason, remedy=breach.remedy)
        for position, each in enumerate((*chain, root))
        for breach in check_authority(
            each, position=position, is_root=each is root, trust_domain=trust_domain, now=now, leaf_lifetime=leaf_lifetime
        )
    ]
    faults += [
        Fault(where=f"{places[above]}, {describe(above)}", reason=_ends_early(above, below), remedy="have it renewed first")
        for below, above in pairwise((*chain, root))
        if above.not_valid_after_utc < below.not_valid_after_utc
    ]
    if faults:
        raise CaRefused(faults)
    unused = [each for each in places if each not in (*chain, root)]
    return PluggedCa(key=private, chain=chain, root=root, notes=tuple(f"not used: {describe(each)}" for each in unused))


def describe(certificate: x509.Certificate) -> str:
    """A certificate as its owner knows it."""
    return f"certificate `{certificate.subject.rfc4514_string() or f'serial {certificate.serial_number:x}'}`"


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether it is at the top of a chain."""
    return certificate.issuer == certificate.subject and _is_signed_by(certificate, certificate)


def _climb(
    own: x509.Certificate, pool: Sequence[x509.Certificate], anchors: frozenset[x509.Certificate], where: str
) -> tuple[tuple[x509.Certificate, ...], x509.Certificate]:
    """From `own` upwards, each signed by the next, to a root: one of `anchors`, or, if there are none, one that signed itself."""
    chain = [own]
    while len(chain) <= _LONGEST_CHAIN:
        above = next((each for each in _preferred(pool, anchors) if each not in chain and _is_signed_by(chain[-1], each)), None)
        if above is None:
            raise CaRefused([_incomplete(chain[-1], [each for each in pool if each not in chain], where)])
        if above in anchors or (not anchors and is_self_signed(above)):
            return tuple(chain), above
        chain.append(above)
    remedy = "have it signed closer to the root"
    raise CaRefused([Fault(where=where, reason=f"there are more than {_LONGEST_CHAIN} certificates up to a root", remedy=remedy)])


def _preferred(pool: Iterable[x509.Certificate], anchors: frozenset[x509.Certificate]) -> list[x509.Certificate]:
    # A root that was also cross-signed exists twice: the one that ends the chain is the better one.
    return sorted(pool, key=lambda each: (each not in anchors, not is_self_signed(each)))


def _ends_early(above: x509.Certificate, below: x509.Certificate) -> str:
    # Leaves are cut to the life of the one that signs them, and must not outlive any above it.
    return f"it ends at {above.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, before what it has signed: {describe(below)}"


def _incomplete(last: x509.Certificate, pool: Sequence[x509.Certificate], where: str) -> Fault:
    issuer = last.issuer.rfc4514_string()
    namesake = any(each.subject == last.issuer for each in pool)
    if namesake:
        reason = f"{describe(last)} says it was issued by `{issuer}`, but the key of that certificate did not sign it"
        return Fault(where=where, reason=reason, remedy="that issuer has another certificate, with another key: add the right one")
    reason = f"the chain ends at {describe(last)}, whose issuer `{issuer}` is not among the certificates"
    return Fault(where=where, reason=reason, remedy="add the certificates up to the root, or name the file of the root with --root")


def _parse(named: Named) -> tuple[x509.Certificate, ...]:
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    blocks = [begin + part.partition(end)[0] + end + b"\n" for part in named.content.split(begin)[1:]]
    if not blocks:
        remedy = "give certificates as PEM; `openssl x509 -inform der -in FILE` makes it of DER"
        raise CaRefused([Fault(where=named.name, reason="it holds no certificate", remedy=remedy)])
    if len(blocks) > _LARGEST:
        remedy = "name only the authority's certificate, what is above it and its root"
        raise CaRefused([Fault(where=named.name, reason=f"it holds {len(blocks)} certificates", remedy=remedy)])
    parsed: list[x509.Certificate] = []
    faults: list[Fault] = []
    for number, block in enumerate(blocks, 1):
        try:
            parsed.append(_parse_one(block))
        except (ValueError, UnsupportedAlgorithm):
            where = f"{named.name}, certificate {number}"
            faults.append(Fault(where=where, reason="it cannot be read as a certificate", remedy="have it exported again"))
    if faults:
        raise CaRefused(faults)
    return tuple(parsed)


def _parse_one(block: bytes) -> x509.Certificate:
    certificate = x509.load_pem_x509_certificate(block)
    # The library reads these late; what cannot be read is to be refused here, with its place.
    _ = certificate.extensions, certificate.public_key(), certificate.subject, certificate.issuer
    return certificate


def _parse_key(named: Named, passphrase: bytes | None) -> PrivateKey:
    try:
        return read_key(named.content, passphrase)
    except SealForeign as foreign:
        remedy = "name a file with its passphrase (--passphrase-file)" if passphrase is None else "name the file with the right passphrase"
        raise CaRefused([Fault(where=named.name, reason=str(foreign), remedy=remedy)]) from None
    except SealBroken as broken:
        remedy = "give the key as PEM (PKCS#8, or the older forms of OpenSSL)"
        raise CaRefused([Fault(where=named.name, reason=str(broken), remedy=remedy)]) from None


def _wrong_key(given: Sequence[x509.Certificate], key: PrivateKey, certificates: str, name: str) -> Fault:
    for position, each in enumerate(given[1:], 2):
        if each.public_key() == key.public_key():
            reason = f"it belongs to certificate {position} of {certificates}, not to the first"
            return Fault(where=name, reason=reason, remedy="put the certificate of the key first")
    return Fault(where=name, reason=f"it does not belong to {describe(given[0])}", remedy="name the key of the first certificate")


def _is_root(where: str) -> Fault:
    remedy = "have an intermediate authority signed by it, and leave the root's own key where it is"
    return Fault(where=where, reason="its first certificate is a root: a mesh that held its key could never be told off", remedy=remedy)


def _is_signed_by(certificate: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
