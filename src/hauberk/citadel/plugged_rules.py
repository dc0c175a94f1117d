"""What a certificate has to be in order to stand above the leaves of a mesh: RFC 5280, X509-SVID, and what Envoy refuses."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from hauberk.identity.spiffe_id import SpiffeId

# What `identity.template` gives every leaf, with the attribute that name constraints can speak of.
LEAF_SUBJECT = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Hauberk")])
_CURVES = ("secp256r1", "secp384r1")
_RSA_BITS = 2048
_PURPOSES = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}
# Critical extensions that every proxy understands; for any other it refuses the whole chain (RFC 5280, 4.2).
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
    }
)

Kind = TypeVar("Kind", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a certificate does not keep."""

    reason: str
    remedy: str


def check_authority(
    certificate: x509.Certificate, *, position: int, is_root: bool, trust_domain: str, now: datetime, leaf_lifetime: timedelta
) -> Iterator[Breach]:
    """Every rule that this one does not keep; `position` 0 signs leaves, each higher one signs the one before."""
    yield from _check_life(certificate, now, leaf_lifetime)
    yield from _check_strength(certificate, signs_leaves=position == 0, is_root=is_root)
    yield from _check_authority_bits(certificate, position)
    if not is_root:
        # A root is trusted for itself: of one without these (version 1, or of an old form) only the name and the key count.
        yield from _check_usage(certificate, signs_leaves=position == 0)
    yield from _check_names(certificate, trust_domain)
    yield from _check_understood(certificate)


def _check_life(certificate: x509.Certificate, now: datetime, leaf_lifetime: timedelta) -> Iterator[Breach]:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end <= now:
        yield Breach(f"it has expired ({end:%Y-%m-%d %H:%M} UTC)", "have it issued anew")
    elif end - now < leaf_lifetime:
        yield Breach(
            f"it ends at {end:%Y-%m-%d %H:%M} UTC, before the first leaf would", "have it issued anew, for years and not for hours"
        )
    if begin > now:
        yield Breach(f"it is not valid before {begin:%Y-%m-%d %H:%M} UTC", "wait until then, or set this machine's clock")


def _check_strength(certificate: x509.Certificate, *, signs_leaves: bool, is_root: bool) -> Iterator[Breach]:
    key = certificate.public_key()
    match key:
        case ec.EllipticCurvePublicKey():
            if key.curve.name not in _CURVES and (signs_leaves or key.curve.name != "secp521r1"):
                yield Breach(f"its key is on the curve {key.curve.name}", "use P-256 or P-384")
        case rsa.RSAPublicKey():
            if key.key_size < _RSA_BITS:
                yield Breach(f"its RSA key has {key.key_size} bits", f"use at least {_RSA_BITS}, or ECDSA P-256")
        case ed25519.Ed25519PublicKey() if not signs_leaves:
            pass
        case _:
            yield Breach(f"its key is of a kind that proxies do not take ({type(key).__name__})", "use ECDSA P-256 or P-384, or RSA")
    # Nobody checks a root's signature: it is trusted because it was given.
    algorithm = None if is_root else certificate.signature_hash_algorithm
    if isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        yield Breach(f"it is signed with {algorithm.name}, which can be forged", "have it signed with SHA-256 or better")


def _check_authority_bits(certificate: x509.Certificate, position: int) -> Iterator[Breach]:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield Breach("it is not an authority: CA:TRUE is not in its basic constraints", "have it issued as a subordinate CA")
    elif constraints.path_length is not None and constraints.path_length < position:
        reason = f"it allows {constraints.path_length} authorities below it, and there would be {position}"
        yield Breach(reason, "have it issued with a path length that is large enough, or be signed by it directly")


def _check_usage(certificate: x509.Certificate, *, signs_leaves: bool) -> Iterator[Breach]:
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        yield Breach("its key usage does not let it sign certificates (keyCertSign)", "have it issued as a subordinate CA")
    if usage is not None and not usage.crl_sign and signs_leaves:
        yield Breach("its key usage does not let it sign revocation lists (cRLSign)", "have it issued with it: nobody could be revoked")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    allowed = set(_PURPOSES) if purposes is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes else set(purposes)
    if missing := [name for purpose, name in _PURPOSES.items() if purpose not in allowed]:
        yield Breach(f"its extended key usage lacks {' and '.join(missing)}", "have it issued with both, or without the extension")
    if signs_leaves and _extension(certificate, x509.SubjectKeyIdentifier) is None:
        yield Breach("it has no subject key identifier (RFC 5280, 4.2.1.2)", "have it issued with one")


def _check_names(certificate: x509.Certificate, trust_domain: str) -> Iterator[Breach]:
    names = _extension(certificate, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    if foreign := [uri for uri in uris if uri.startswith("spiffe:") and uri != str(SpiffeId(trust_domain))]:
        reason = f"it was made for {', '.join(foreign)}, not for spiffe://{trust_domain}"
        yield Breach(reason, "have it issued for this mesh's trust domain, or without a URI")
    limits = _extension(certificate, x509.NameConstraints)
    if limits is None:
        return
    name = f"spiffe://{trust_domain}/…"
    uri_limits, excluded = _limits(limits, x509.UniformResourceIdentifier)
    if (uri_limits and not any(_host_within(trust_domain, each) for each in uri_limits)) or any(
        _host_within(trust_domain, each) for each in excluded
    ):
        allowed = f"to {', '.join(uri_limits)}" if uri_limits else f"to all but {', '.join(excluded)}"
        yield Breach(f"its name constraints limit URIs {allowed}: {name} is not allowed", f"have {trust_domain} permitted")
    subjects, forbidden = _limits(limits, x509.DirectoryName)
    if (subjects and not any(_subject_within(each) for each in subjects)) or any(_subject_within(each) for each in forbidden):
        subject = LEAF_SUBJECT.rfc4514_string()
        yield Breach(f"its name constraints do not allow the subject of leaves, {subject}", f"have the directory name {subject} permitted")


def _limits(limits: x509.NameConstraints, kind: type[x509.GeneralName]) -> tuple[list[Any], list[Any]]:
    """What is permitted and what is excluded of one kind of names."""
    permitted, excluded = limits.permitted_subtrees or [], limits.excluded_subtrees or []
    return [each.value for each in permitted if isinstance(each, kind)], [each.value for each in excluded if isinstance(each, kind)]


def _check_understood(certificate: x509.Certificate) -> Iterator[Breach]:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            name = extension.oid.dotted_string
            yield Breach(f"it has a critical extension that proxies do not know ({name})", "have it issued without, or not critical")


def _host_within(trust_domain: str, limit: str) -> bool:
    """RFC 5280, 4.2.1.10: a host, or with a dot in front all hosts below that domain."""
    host = limit.lower()
    return trust_domain.endswith(host) if host.startswith(".") else trust_domain == host


def _subject_within(limit: x509.Name) -> bool:
    return LEAF_SUBJECT.rdns[: len(limit.rdns)] == limit.rdns


def _extension(certificate: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
